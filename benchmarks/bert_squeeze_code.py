"""Runs the Theseus of bert-squeeze (github.com/JulesBelveze/bert-squeeze), as shipped or repaired, and times it.

    python bert_squeeze_code.py CHECKOUT SETTINGS.json

Its depth cannot be set from outside: it is the default of a constructor, which is changed here for both. Repaired, the
successor starts from the model that is compressed and not from random weights, its task head is kept, nothing but the
successor is trained, and the training rows are shuffled. The checkout is left alone.
"""

import json
import sys
import time
from pathlib import Path


def main():  # type: ignore[no-untyped-def]  # the interpreter is not the project's
    sys.path[0] = sys.argv[1]
    settings = json.loads(Path(sys.argv[2]).read_text())

    import lightning
    import torch
    import transformers
    from bert_squeeze.assistants import TrainAssistant
    from bert_squeeze.models.custom_transformers.theseus_bert import TheseusBertEncoder, TheseusBertModel
    from bert_squeeze.models.lt_theseus_bert import LtTheseusBert
    from torch.utils.data import DataLoader

    def repaired(self):  # type: ignore[no-untyped-def]
        self.encoder = TheseusBertModel.from_pretrained(self.pretrained_model)
        self.encoder.encoder.init_successor_layers()
        self.classifier = torch.nn.Sequential(self.model.dropout, self.model.classifier)
        self.requires_grad_(False)
        self.encoder.encoder.successor_layers.requires_grad_(True)
        self.train()  # what is loaded is not, and Lightning leaves it so: no layer would ever be drawn

    as_shipped = LtTheseusBert.training_step

    def counted(self, *arguments):  # type: ignore[no-untyped-def]
        """A step in which no layer is replaced has nothing to train, but counts."""
        loss = as_shipped(self, *arguments)
        return loss if loss.requires_grad else loss.requires_grad_()

    torch.set_num_threads(settings["threads"])
    lightning.seed_everything(settings["seed"])
    TheseusBertEncoder.__init__.__defaults__ = (settings["layers"],)
    if settings["repaired"]:
        LtTheseusBert._build_model, LtTheseusBert.training_step = repaired, counted
    assistant = TrainAssistant(
        "theseusbert",
        general_kwargs={"labels": [0, 1], "num_labels": 2},
        train_kwargs={"objective": "ce", "learning_rates": [settings["learning_rate"]]},
        model_kwargs={
            "pretrained_model": settings["model"],
            "replacement_scheduler": {
                "type": "linear",
                "base_replacing_rate": settings["base_rate"],
                "coefficient": settings["slope"],
            },
        },
        data_kwargs={"max_length": settings["length"], "dataset_config": {"path": settings["rows"]}},
    )
    model, data = assistant.model, assistant.data
    batches = data.train_dataloader()
    if settings["repaired"]:
        batches = DataLoader(data.train, batch_size=data.train_batch_size, shuffle=True, drop_last=True)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=settings["steps"],
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.fit(model, train_dataloaders=batches)
    found = {
        "training_wall_seconds": time.perf_counter() - wall,
        "training_cpu_seconds": time.process_time() - cpu,
        "examples": trainer.global_step * data.train_batch_size,
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "stack": ", ".join(
            f"{module.__name__} {module.__version__}" for module in (torch, transformers, lightning)
        ),
    }
    # Its own loader of test rows leaves the last of them out, where they do not fill a batch.
    model.eval()
    right = 0
    with torch.no_grad():
        for batch in DataLoader(data.test, batch_size=data.eval_batch_size):
            labels = batch.pop("labels")
            right += int((model(**batch).argmax(dim=-1) == labels).sum())
    found["accuracy"] = right / len(data.test)
    print(json.dumps(found))


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
