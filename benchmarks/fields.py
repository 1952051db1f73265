"""How well white cells are found in whole fields, against the boxes of a folder.

    python benchmarks/fields.py --data FOLDER

Prints recall and precision at IoU 0.4, the average precision at IoU 0.5, the time per megapixel and the memory.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from hemacell.data.boxes import Box
from hemacell.data.images import read_rgb
from hemacell.fields.annotations import read_annotations
from hemacell.fields.detection_metrics import FieldBoxes, box_ious, detection_scores
from hemacell.fields.finder import find_cells

_LEAST_IOU = 0.4


def main() -> None:
    """Measure and print one line, and one per field with a mistake."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--cell-diameter", type=float, help="of a white cell in pixels, if known")
    asked = parser.parse_args()
    fields, overlaps, seconds, pixels = [], [], 0.0, 0
    for file, boxes in read_annotations(Path(asked.data)).white_cells().items():
        picture = np.asarray(read_rgb(file))
        started = time.process_time()
        cells = [cell for cell in find_cells(picture, asked.cell_diameter) if cell.is_white_cell]
        seconds += time.process_time() - started
        pixels += picture.shape[0] * picture.shape[1]
        true = [_corners(box) for _, box in boxes]
        fields.append(FieldBoxes([cell.box for cell in cells], [cell.score for cell in cells], true))
        if cells:
            overlaps += box_ious(fields[-1].found, true).max(0).tolist()
        scores = detection_scores(fields[-1:], _LEAST_IOU)
        if not scores.true == scores.found == scores.matched:
            print(f"{file.name}: {scores.matched} of {scores.true} cells found, {scores.found - scores.matched} more")
    scores = detection_scores(fields, _LEAST_IOU)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(fields)} fields, {scores.true} cells: recall {scores.recall:.3f}, precision {scores.precision:.3f} at "
        f"IoU {_LEAST_IOU}; average precision {scores.average_precision:.3f} at IoU 0.5; median IoU "
        f"{np.median(overlaps):.2f}; {seconds / pixels * 1e6:.2f} s of one core per megapixel, "
        f"{seconds / len(fields):.2f} s per field; {peak:.0f} MB at most"
    )


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.left, box.top, box.left + box.width, box.top + box.height


if __name__ == "__main__":
    main()
