"""The shared distillation core: tensors, modules and time; no task, no data set, no modality."""
