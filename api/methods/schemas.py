"""What the API says of a compression method."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Method(BaseModel):
    """One way to compress a model, and everything that can be set about it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = Field(examples=["theseus"])
    summary: str
    paper: str
    tasks: list[str] = Field(examples=[["text-classification"]])
    architectures: list[str] = Field(examples=[["bert", "roberta", "distilbert"]])
    presets: dict[str, dict[str, Any]]
    """Values that each preset gives to the fields that a request leaves out."""
    recommended_preset: str | None
    """The preset that kept most of the metric where they were measured side by side."""
    defaults: dict[str, Any]
    json_schema: dict[str, Any] = Field(serialization_alias="schema")
    """JSON schema of a step with this method."""


class MethodList(BaseModel):
    data: list[Method]
