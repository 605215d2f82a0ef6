"""Which Debian packages give sounds, under which terms, and whose file names serve as captions."""

from __future__ import annotations

from dataclasses import dataclass

SUFFIXES = (".ogg", ".oga", ".wav", ".flac", ".mp3", ".opus", ".au", ".aiff")


@dataclass(frozen=True)
class Source:
    """One package. `labelled` matches the paths whose names are captions, `skip` those left out,
    `strip` what is cut out of a path before it becomes a caption; `folder` puts the folder's name in front.

    `licence` is that of the sounds, as the package's copyright file states it; `permissive` when none of
    them is under GPL or share-alike terms. `played` marks a sound font.
    """

    package: str
    licence: str
    labelled: str = ""
    skip: str = ""
    strip: str = ""
    archives: str = ""
    folder: bool = False
    permissive: bool = False
    played: bool = False


ALL = "."
MUSIC = r"/[Mm]usics?/|[Mm]usic\d*\.|theme"

SOURCES: tuple[Source, ...] = (
    Source("tuxpaint-stamps-default", "GPL-2", skip=r"_desc_|/symbols/.*_[a-z]{2}(_\w+)?\.ogg"),
    Source("scratch", "CC-BY-SA-3.0", labelled="/(Animal|Effects|Human|Instruments|Percussion|Electronic)/"),
    Source("0ad-data", "CC-BY-SA-3.0", archives=r"public\.zip$", skip=r"mods/mod/",
           labelled=r"audio/(actor/(fauna|gate|human|mounted|singlesteps)|ambient|attack|resource)/",
           strip=r"(?<=attack/fire/)(c|sp|sz)_|_MN|(?<=/)day_|generic|imp(?=_)"),
    Source("lincity-ng-data", "GPL-2+", labelled="/sounds/",
           strip=r"(Low|Med|High|Empty|Full|HTech)+(?=\d|\.|$)"),
    Source("openclonk-data", "CC-BY-3.0, CC-BY-SA-3.0, CC0", archives=r"\.oc[gdfs]$", folder=True,
           labelled=r"Sound\.ocg/(Animals|Environment|Fire|Hits|Liquids|Objects|Structures"
                    r"|Clonk\.ocg/(Action|Movement))"),
    Source("simutrans-pak64", "Artistic-1.0", labelled=ALL, permissive=True),
    Source("megaglest-data", "CC-BY-SA-3.0", skip=MUSIC,
           labelled=r"/(wolf|sheep|chicken|cow|pig|bee|eagle|snake|ele|bull|rain|water|fire|horseman_walk"
                    r"|dragon|worker_mine|arrow_hit|catapult_hit)[a-z_]*\d*[a-z]?\.wav"),
    Source("gcompris-qt-data", "CC-BY-SA-3.0, CC-BY-SA-4.0, GPL-3+", archives=r"\.rcc$",
           skip=r"/(lang|words)\b",
           labelled=r"instruments/|animals/|memory-sound|canal_lock|watercycle|core/resource/sounds|piano|melody",
           strip=r"son\d"),
    Source("openttd-opensfx", "CC0, CC-BY-3.0, CC-BY-SA-3.0", archives=r"\.cat$", labelled=ALL,
           skip="Unused"),
    Source("hydrogen-drumkits", "GPL-2+, CC0, CC-BY-3.0, CC-BY-SA-3.0", strip=r"\d+__[\w-]+__",
           labelled=r"ColomboAcoustic|ForzeeStereo|Gimme A Hand|Millo_MultiLayered2|Black Pearl"
                    r"|circAfrique|ElectricEmpire"),
    Source("lmms-common", "GPL-2+", labelled=r"samples/(drums|instruments|effects|misc|basses|latin)/"),
    Source("sonic-pi-samples", "CC0", permissive=True,
           labelled=r"samples/(ambi|bass|bd|drum|elec|guit|misc|perc|sn|tabla|vinyl)"),
    Source("minetest-data", "CC-BY-SA-3.0", labelled=ALL, skip="soundstuff",
           strip=r"(default|fire|doors|carts|env_sounds|tnt|xpanes|player)_(?=\w+_|\w+\.)|_dug|_node|_by_hand"),
    Source("widelands-data", "GPL-2+", labelled=r"/sound/|/critters/", strip=r"(?<=bird)\d", skip=MUSIC),
    Source("wesnoth-1.16-data", "GPL-2+", labelled=r"/core/sounds/", strip=r"-puny|-big|-small|melee-"),
    Source("flare-game", "CC-BY-SA-3.0", labelled=r"/soundfx/", skip=r"npcs/.*_0|" + MUSIC, strip="critdie"),
    Source("freedroid-data", "GPL-2+"),
    Source("freedroidrpg-data", "GPL-2+", labelled=r"item_sounds|bullets|chest", skip=MUSIC,
           strip=r"_?[Ss]ound_?"),
    Source("supertux-data", "GPL-2+, CC-BY-SA-3.0", labelled=r"/sounds/", skip=MUSIC),
    Source("supertuxkart-data", "CC-BY-SA-3.0, CC-BY-3.0, CC0", labelled=r"/sfx/|sheep|Locomotive"),
    Source("unknown-horizons", "CC-BY-SA-3.0, GPL-2+", labelled=r"audio/sounds/"),
    Source("warzone2100-data", "CC-BY-SA-3.0, CC0, GPL-2+", archives=r"base\.wz$"),
    Source("hedgewars-data", "GPL-2", skip=r"voices/(?!Default/|British/)"),
    Source("warmux-data", "GPL-2+", labelled=r"/weapons/"),
    Source("lugaru-data", "CC-BY-SA-4.0, CC-BY-SA-3.0", labelled=ALL, skip=MUSIC + "|Music"),
    Source("pekka-kana-2-data", "BSD-2-Clause", permissive=True,
           labelled=r"moo|chick|pig|frog|bee|doodle|eggcrack"),
    Source("lomiri-sounds", "CC-BY-4.0, CC-BY-3.0, CC-BY-SA-3.0, CC0", labelled=r"ringtones|click"),
    Source("sound-theme-freedesktop", "CC-BY-SA-3.0, GPL-2"),
    Source("oxygen-sounds", "LGPL-3"),
    Source("deepin-sound-theme", "GPL-3"),
    Source("torcs-data", "Free Art Licence, GPL-2+"),
    Source("naev-data", "CC-BY-3.0, CC-BY-SA-3.0, GPL-3", skip=MUSIC),
    Source("boswars-data", "GPL-2+"),
    Source("fillets-ng-data", "GPL-2+", skip="/(cs|nl|de|fr)/"),
    Source("tuxtype-data", "GPL-3+", labelled=r"alarm|cheer|harp|pop|applause"),
    Source("tuxmath-data", "GPL-3+", labelled=r"harp|sizz|alarm|buzz"),
    Source("bucklespring-data", "GPL-2+", skip=r"/(?!0|1[0-7])..-"),
    Source("bambam", "GPL-3+", labelled=r"giggle|harp|typewriterbell|bubble|boom|punch"),
    Source("gamine-data", "GPL-3+", labelled=r"bubble|eat|gobble"),
    Source("heroes-sound-effects", "GPL-2+"),
    Source("freedink-data", "Zlib, CC-BY"),
    Source("endless-sky-data", "CC-BY-SA-4.0, CC-BY-4.0"),
    Source("planetblupi-common", "GPL-3+", skip=r"/(de|fr|en_US)/"),
    Source("pingus-data", "GPL-3+"),
    Source("klettres-data", "GPL-2+", skip=r"klettres/(?!en|fr|de|es)"),
    Source("asterisk-core-sounds-en-wav", "CC-BY-SA-3.0",
           skip=r"/(digits|letters|phonetic)/|[a-m][\w-]*\.wav$"),
    Source("asterisk-moh-opsound-wav", "CC-BY-SA-2.5"),
    Source("fluid-soundfont-gm", "MIT", permissive=True, played=True),
)  # fmt: skip
