"""What the fields about the experiment, its machine, its model and its files mean."""

from llenergymeasure.domain.meaning.base import Meanings, read

RESULT: Meanings = {
    "schema_version": read("Of the file: `2.0`."),
    "schema_revision": read(
        "Counts up when fields are added, which readers of before leave out, saying so. Files of before 2 do not name "
        "it: they are of 1."
    ),
    "definitions": read(
        "The version of the definition of each derived field that was in use, by its place in the file. Two figures "
        "may be compared where theirs are equal, and those of the fields in their formulas. Files of before 5 do not "
        "name them; they are read with those of their revision."
    ),
    "experiment_id": read("Of this run and no other."),
    "name": read("As it was given, or the model's."),
    "measurement_config_hash": read(
        "16 hex digits of SHA-256 over every setting (not over the name and the output folder)."
    ),
    "effective_config": read("Every setting."),
    "run_key": read("Its place in a study; `null` of a single experiment."),
    "start_time": read("When the window began, with its zone."),
    "end_time": read("When it ended."),
    "measurement_warnings": read("`flag: what, and what to do`; see [below](#warnings)."),
    "validity": read(
        "Whether the energy is `citable`, `questionable` or `not_citable`; worked out anew on reading, see "
        "[below](#warnings)."
    ),
    "validity_flags": read("The warnings that decided it."),
    "reproducibility_notes": read("What to know about the sensor that was really used."),
    "environment_snapshot": read("The machine and its software."),
    "model": read("The loaded model as the engine resolved it."),
    "prompts_digest": read(
        "SHA-256 of the prompts, of random ones that of seed and lengths: the same path may hold other prompts "
        "tomorrow."
    ),
    "inputs_digest": read(
        "SHA-256 of every request's input tokens as the model was given them, after template and truncation: equal for "
        "two runs that read the same; `null` where an engine does not tell."
    ),
    "outputs_digest": read(
        "SHA-256 of every request's output tokens: equal for two runs that said the same; [how](#digests-of-tokens)."
    ),
    "model_revision": read("Commit of a hub model; `null` for a directory, a GGUF file and a packaged model."),
    "weights_digest": read("SHA-256 of the weight files; see [methodology](methodology.md#the-model)."),
    "adapter_digest": read("The same of a LoRA adapter's."),
    "draft_digest": read("The same of a draft model's."),
    "timeseries": read("Name of the file beside the result with a row per GPU and second."),
    "requests": read("Name of the file with a row per request."),
    "outputs": read("Name of the file with a row per answer."),
    "trace": read("Name of the table of what sensors read, as they read it; `null` where none kept it."),
    "attached_logs": read("What `llem attach` has joined."),
}

ENVIRONMENT: Meanings = {
    "python_version": read("Of the measuring process."),
    "platform": read("Operating system and architecture."),
    "cpu_model": read("As the machine names it."),
    "n_cpus": read("Logical processors of the machine."),
    "memory_total_mb": read("Memory of the machine.", "MB"),
    "cuda_version": read("Of torch, else of the toolkit."),
    "driver_version": read("Of the GPUs' driver."),
    "gpus": read("A row per GPU."),
    "packages": read("Version of every installed Python package."),
    "tool_version": read("Version of llenergymeasure."),
    "engine": read("What the engine says of this machine and of how it was built."),
    "host": read("Name of the machine, or of the container that stood for it."),
    "boot_id": read(
        "Number of the machine's boot, by which it is known under another name; `null` where none is told."
    ),
    "job": read("What a scheduler says of the job that measured; `null` where none ran it."),
    "share": read("What of the machine the measuring process might use."),
}

JOB: Meanings = {
    "scheduler": read("`slurm`, `pbs` or `kubernetes`."),
    "job_id": read("Its own; the pod's name under Kubernetes."),
    "array_job_id": read("Of the array that it is of."),
    "array_task_id": read("Its number in that array."),
    "n_restarts": read("How often the scheduler had started it again."),
    "node": read("As the scheduler names it."),
    "node_list": read("All nodes of the job, as the scheduler writes them."),
    "n_nodes": read("How many these are."),
    "partition": read("Or the queue."),
    "account": read("That it is charged to."),
    "n_cpus": read("Processors that it has on this node."),
    "n_gpus": read("GPUs that it has on this node."),
    "n_gpus_per_task": read("As asked for each task."),
    "n_gpu_shards": read("Parts of GPUs that it has on this node, of which others may have some too."),
    "memory_mb": read("Memory that it has on this node; `null` also where that is all.", "MB"),
    "end_time": read("When the scheduler ends it, with its zone."),
}

NODE_SHARE: Meanings = {
    "n_cpus_allowed": read("Processors of the affinity mask."),
    "n_cpus_in_set": read("Processors that control groups let it use."),
    "cpu_quota": read("Processors' worth of time that control groups let it have.", "processors"),
    "memory_limit_mb": read("Of control groups.", "MB"),
    "gpus_shown": read("What `CUDA_VISIBLE_DEVICES` was set to; cards are known by UUID."),
}

GPU_INFO: Meanings = {
    "index": read("The driver's own."),
    "uuid": read("The driver's own."),
    "name": read("Of the card."),
    "memory_total_mb": read("Its memory.", "MB"),
    "memory_used_mb": read("What of it was taken before loading, by whomever.", "MB"),
    "persistence_mode": read("Whether the driver stays loaded."),
    "power_limit_w": read("In force.", "W"),
    "power_limit_default_w": read("What the card comes with.", "W"),
    "mig_mode": read("Whether it is split into parts."),
    "architecture": read("NVML's constant."),
    "compute_capability": read("Major and minor."),
    "running_pids": read("Processes on it before loading, as the driver counts them."),
    "calibration": read("What was found of this card's sensors with the driver that is there."),
}

CALIBRATION: Meanings = {
    "device": read("UUID of the card."),
    "name": read("Of the card."),
    "driver_version": read("Of the driver that it was found with."),
    "timestamp": read("When, in Unix time.", "s"),
    "tool_version": read("Version of llenergymeasure."),
    "load": read("What made the card work."),
    "duration_s": read("How long it took.", "s"),
    "power": read("What its reading of power is."),
    "average": read("What the average that it takes itself is."),
    "counter_tick_s": read("Distance of the energy counter's changes.", "s"),
    "counter_fed_by": read("What the counter adds up: `everything`, `power` or `average`; `null`: none explains it."),
    "counter_unexplained": read("Share of the variance of its steps that each explanation leaves.", "fraction"),
}

READING_PROPERTIES: Meanings = {
    "field": read("The driver's name of it."),
    "update_s": read("How often it is new.", "s"),
    "window_s": read("What it is the mean of.", "s"),
    "lag_s": read("How long before it showed that window ended.", "s"),
    "unexplained": read("Share of the readings' variance that this leaves.", "fraction"),
    "n_readings": read("Readings it was found from."),
}

MODEL: Meanings = {
    "engine": read("Its name."),
    "engine_version": read("Its version."),
    "devices": read("UUIDs of the GPUs that hold the model; empty for a CPU."),
    "n_parameters": read("Of the model."),
    "parameters": read(
        "All else that the engine resolved, by its own names; what differs between processes is a list."
    ),
    "batch_size": read("Of fixed batches.", "requests"),
    "weights": read("What they are, where they were not read from files."),
    "dense_from": read(
        "The GGUF file that dense weights were made from: they are no more exact than it, whatever the precision."
    ),
    "quantization": read("Its method."),
    "adapter": read("What was put on the model."),
    "chat_template": read("To which prompts it was applied."),
}

RUN_KEY: Meanings = {
    "study_id": read("Tells studies apart, also those of one name."),
    "slot": read("Its number among all runs of the study, in their order, from 0 on."),
    "block": read(
        "The block it was in: where the order is `blocks`, each has every configuration once, and runs of one block "
        "are compared in pairs."
    ),
    "repeat": read("Its number among the runs of its configuration, from 0 on."),
    "order": read("`blocks`, `sequential` or `shuffled`."),
}
