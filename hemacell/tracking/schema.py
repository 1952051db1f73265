"""Every name under which something is stored in MLflow: tags, parameters, metrics, files, models and their aliases."""

# --- tags of a run: which job, of which process, and how it ended
JOB = "hemacell.job"
KEY = "hemacell.key"
"""digest of inputs, settings and code: equal for runs that compute the same"""
ERROR = "hemacell.error"
HOST, PID, STARTED = "hemacell.host", "hemacell.pid", "hemacell.started"
RESULT = "hemacell.result"
"""on the run that `mlflow run` makes: the run that holds the result"""
REGISTERED = "hemacell.registered"
"""address of the model version that the run has registered"""
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
"""what MLflow's pages show as the description of a run or an experiment, in Markdown"""
THREADS = "threads"
GIT_COMMIT, GIT_DIRTY = "git.commit", "git.dirty"

# --- tags of a run: its images
DATA_KIND = "data.kind"
"""`sample` or `folder`"""
DATA_DIGEST = "data.digest"
DATA_CONTEXT = "mlflow.data.context"
"""MLflow's tag of an input: `training`, `study`, …, or `external/lisc`"""
DUPLICATES, CONFLICTS = "data.duplicates_across_splits", "data.conflicting_labels"
CHANNEL_STAT = "data.channel_{}"
SITE = "data.scale{}"
"""how large nuclei are in the images, which gives the scale; then a dot and a name for other images than the run's"""
SEEN_IN_TRAINING = "data.seen_in_training"
DRAW_GROUPS = "draw.groups"
"""number of groups (patients, slides) that the drawn labels are of; 0 where no group is known"""
INTERVALS_OVER = "intervals.{}"
"""then `test` or `external/lisc`: what the intervals are over, such as `23 groups of 1,545 images`"""
DRAW_DIGEST, DRAW_LABELS = "draw.digest", "draw.labels"

# --- tags of a run: models that it used
MODEL_INPUT = "{role}.{name}"
ENCODER = "encoder."
"""prefix; then an encoder's slug"""
INIT_FROM = "init_from"
MODEL_DATA_KIND = "model.data_kind"

# --- tags of a run of predict
OUTPUT_DIGEST, OUTPUT_PATH, FACTS = "output.sha256", "output.path", "hemacell.facts"

# --- tags of a registered version
MODEL_TYPE = "hemacell.model"
"""`encoder`, `classifier` or `onnx`"""
VAL_SCORE = "val.score"
CLASSES, CLASSES_DIGEST = "classes", "classes.digest"
DECISION = "champion.decision"
"""why the version became champion, or did not"""
SITE_OF, ADAPTED_FROM = "site", "adapted.from"
"""of a version for another laboratory: its name, and the classifier that was adapted"""
EXPORT_OF = "export.of"
"""of an ONNX export: the classifier that it was made from"""
ONNX_DIGEST = "onnx.sha256"

# --- aliases and names of registered models
CHAMPION, SAMPLE = "champion", "sample"
SITE_ALIAS = "site-{}"
CLASSIFIER = "hemacell-wbc"
EXPERIMENT = "hemacell-{job}"

# --- files of a run
PREDICTIONS = "predictions.json"
#: The rows that were reported in training, in one file: a comparison of many runs reads them at once.
HISTORY = "history.json"
#: On a study's run: its finished runs, also those that another study has computed. On main's: arm -> run.
STUDY_RUNS = "runs.json"
#: On a study's run or a comparison's: what it says, in words.
ANSWER = "answer.txt"
BAD_IMAGES, SKIPPED = "bad_images{}.txt", "skipped{}.csv"
"""Files that could not be read, and that were passed over; of another laboratory `skipped-external-lisc.csv`."""
COPIES_FIGURE = "copies.png"
MODEL_SUMMARY = "model_summary.txt"
LOSS_CURVES = "loss_curves.png"
ROC = "roc.png"
RECONSTRUCTIONS = "reconstructions.png"
OOD_DISTANCES = "distances.png"
EXPORT_CHECK = "check.json"
#: On a run of adapt.
ADAPTATION = "adaptation.md"
#: On a run of audit.
AUDIT_PAGE, AUDIT_JSON = "audit.html", "audit.json"
COPIES, DOUBTFUL_LABELS, MEASUREMENTS = "copies.csv", "doubtful_labels.csv", "measurements.csv"
#: On a run of evaluate: its scores compared with the classifier's own test scores.
REFERENCE_PAGE, REFERENCE_RECORDS, REFERENCE_FIGURE = "comparison.md", "comparison.json", "comparison.png"

# --- files of a registered model, in addition to those in its own folder
CARD = "README.md"
VAL_IMAGES = "val_images.json"
"""sha256 of each validation image -> score on it"""
