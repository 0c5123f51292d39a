"""Checkpoints in Hugging Face form, judged without building anything of them."""
