"""The model card of an adapter: what it is, how it was made, how it is used."""

from collections.abc import Mapping
from typing import Any

from rolesum.recipe import Recipe


def model_card(recipe: Recipe, note: Mapping[str, Any], dialogues: int) -> str:
    """The card as Markdown with the hub's front matter."""
    lora, options = recipe.lora, recipe.training
    rows = [
        ("Base model", f"{recipe.base} ({note['fingerprint']['architecture']})"),
        ("Roles", ", ".join(recipe.roles)),
        ("Training data", f"{recipe.data.train.path}, {dialogues} dialogues; its licence binds what you do with this"),
        ("LoRA", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}"),
        ("NEFTune", f"alpha {recipe.neftune.alpha:g}, scaled by each example's own length"),
        ("Training", f"{options.epochs} epochs, learning rate {options.learning_rate:g}, {options.schedule} schedule"),
        ("Seed", str(options.seed)),
        ("Made with", f"rolesum {note['rolesum']}, recipe {recipe.name}"),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return f"""---
library_name: peft
base_model: {recipe.base}
tags: [dialogue-summarization, rolesum, lora]
---

# {recipe.name}

An adapter that summarises a dialogue for each of its roles.

| | |
|---|---|
{table}

```
rolesum summarize chat.txt --model {recipe.base} --adapter DIRECTORY
```

`recipe.yaml` and `environment.json` beside this directory say how to make it again. Summaries can be wrong: check
names, amounts and dates before you rely on them.
"""
