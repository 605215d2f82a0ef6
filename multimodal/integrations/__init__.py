"""A library inside other frameworks, each in a module and an extra of its own.

multimodal.integrations.langchain    pip install multimodal[langchain]
multimodal.integrations.llamaindex   pip install multimodal[llamaindex]
"""
