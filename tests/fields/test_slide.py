"""A whole slide: the full level of a pyramid, in bounded memory."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from tests.fields.drawn import drawn_field

_RUN = """
import re, sys
from pathlib import Path
import numpy as np
from hemacell.data.images import read_rgb
from hemacell.fields.finder import find_cells
slide = np.asarray(read_rgb(Path(sys.argv[1])))
cells = [cell for cell in find_cells(slide) if cell.is_white_cell]
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]  # ru_maxrss has the parent's memory too
print(slide.shape[0], slide.shape[1], len(cells), int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("red", [24, 60])
def test_forty_megapixels_of_a_pyramid(tmp_path, red):
    tile = drawn_field([(200, 200), (460, 440)], (640, 640), red=red)
    slide = np.tile(tile, (10, 10, 1))
    file = tmp_path / "slide.tif"
    with tifffile.TiffWriter(file) as writer:
        options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
        writer.write(slide, **options)
        for step in (4, 16):  # smaller levels
            writer.write(slide[::step, ::step], subfiletype=1, **options)
    told = subprocess.run([sys.executable, "-c", _RUN, str(file)], capture_output=True, text=True, check=True).stdout
    height, width, cells, megabytes = map(int, told.split())
    assert (height, width) == (6400, 6400)
    assert cells == 200
    assert megabytes < 1500
