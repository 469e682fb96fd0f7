import numpy as np

from pipelines.export.brush_rle import brush_rle


def decode(code: list[int]) -> np.ndarray:
    """The words behind a code, bit by bit as Label Studio documents it."""
    bits = "".join(f"{byte:08b}" for byte in code)
    place = 0

    def take(number: int) -> int:
        nonlocal place
        place += number
        return int(bits[place - number : place], 2)

    num_words, word_bits = take(32), take(5) + 1
    widths = [take(4) + 1 for _ in range(4)]
    words: list[int] = []
    while len(words) < num_words:
        is_run = take(1)
        length = take(widths[take(2)]) + 1
        words += [take(word_bits)] * length if is_run else [take(word_bits) for _ in range(length)]
    assert len(bits) - place < 8
    return np.array(words, np.uint8)


def test_a_code_is_the_one_worked_out_by_hand():
    # 2 x 1 pixels, the second in the mask: 4 words of 0, then 4 of 255.
    header = f"{8:032b}" + f"{7:05b}" + f"{2:04b}{3:04b}{7:04b}{15:04b}"
    runs = "1" + "00" + "011" + "00000000" + "1" + "00" + "011" + "11111111"
    bits = (header + runs).ljust(88, "0")
    expected = [int(bits[i : i + 8], 2) for i in range(0, 88, 8)]
    assert brush_rle(np.array([[0], [5]]), 5) == expected


def test_every_segment_comes_back_in_all_four_channels():
    ids = np.array([[1, 1, 0, 2], [2, 1, 0, 0], [3, 3, 3, 3]])
    for segment in (1, 2, 3):
        expected = np.repeat(ids.ravel() == segment, 4) * 255
        assert decode(brush_rle(ids, segment)).tolist() == expected.tolist()


def test_runs_of_every_length_come_back():
    lengths = [1, 2, 3, 4, 5, 16, 63, 64, 65, 16383, 16384, 16385, 40000]  # times 4 channels
    ids = np.repeat(np.arange(len(lengths)) % 2, lengths)[None]
    assert (decode(brush_rle(ids, 1)) == np.repeat(ids.ravel(), 4) * 255).all()
