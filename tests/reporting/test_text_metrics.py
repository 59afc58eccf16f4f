"""Against sacreBLEU and jiwer, on texts of several scripts and on random ones; by hand where a number says more."""

from __future__ import annotations

import random
import time

import jiwer
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics import BLEU, CHRF

from mmcli.reporting import metrics
from mmcli.reporting import text_metrics as tm

Pairs = list[tuple[str, str]]
"""(written, right)"""

ENGLISH: Pairs = [
    ("The cat sat on the mat.", "The cat sat on a mat."),
    ("", "Nothing was written for this one."),
    ("a", "a b c d e f g"),
    ("It cost $1,000.50 in 2019-2020, i.e. a lot...", "It costs $1,000.5 in 2019-20 (i.e. a lot)."),
    ("the the the the the the", "the cat is on the mat"),
    ("  He said &quot;no&quot; &amp; left.\n", 'He said "no" & left.'),
    ("The quick brown fox jumps over the lazy dog", "The quick brown fox jumps over the lazy dog"),
    ("far more words than there are in what is right by any measure", "few"),
]
GERMAN: Pairs = [
    ("Der Hund läuft schnell über die Straße.", "Der Hund lief schnell über die Straße."),
    ("Größe: 1,5 m; Preis: 3.000 €", "Größe: 1,5 m - Preis: 3.000,00 €"),
    ("", "Die Übung beginnt um 7 Uhr."),
    ("Das weiß ich nicht!", "Ich weiß das nicht!"),
]
CHINESE: Pairs = [
    ("今天天气很好。", "今天天气真好。"),
    ("", "他没有回答。"),
    ("我在2019年买了iPhone,花了5,000元!", "我于2019年买了 iPhone ,花了5000元!"),
    ("猫", "狗"),
    ("她说:“明天——也许——去北京……”", "她说:“明天去北京。”"),
]
THAI: Pairs = [
    ("วันนี้อากาศดีมาก", "วันนี้อากาศไม่ดี"),
    ("", "สวัสดีครับ"),
    ("ฉันชอบกิน ข้าวผัด", "ฉันชอบกินข้าวผัดมาก"),
]
JAPANESE: Pairs = [
    ("今日は天気がいいですね。", "今日の天気はいいですね。"),
    ("", "ありがとうございます"),
    ("コンピューターを買った", "コンピュータを買いました"),
]
NO_LONG_MATCHES: Pairs = [("a b x c d y", "a b p c d q"), ("k l m n", "n m l k"), ("q", "a longer one")]
"""BLEU smooths the orders 3 and 4."""
SHORT: Pairs = [("ab", "ab"), ("a", "abc"), ("abcdefgh", "ab")]
"""No row of four tokens, and right texts shorter than chrF's longest n-grams."""
BLANK_GOALS: Pairs = [("some words here now", " "), ("", " "), ("the right words are here", "the right words were here")]


def random_pairs(seed: int, rows: int, alphabet: str) -> Pairs:
    generator = random.Random(seed)
    pairs = []
    for _ in range(rows):
        right = generator.choices(alphabet, k=generator.randrange(1, 60))
        written = [
            symbol if generator.random() < 0.8 else generator.choice(alphabet) for symbol in right if generator.random() < 0.9
        ]
        pairs.append(("".join(written) if generator.random() < 0.9 else "", "".join(right).strip() or "a"))
    return pairs


CORPORA: dict[str, tuple[Pairs, tm.Tokenizer]] = {
    "english": (ENGLISH, "13a"),
    "german": (GERMAN, "13a"),
    "chinese": (CHINESE, "zh"),
    "chinese as 13a": (CHINESE, "13a"),
    "thai": (THAI, "char"),
    "japanese": (JAPANESE, "char"),
    "japanese as zh": (JAPANESE, "zh"),
    "english as char": (ENGLISH, "char"),
    "no long matches": (NO_LONG_MATCHES, "13a"),
    "short": (SHORT, "13a"),
    "short as char": (SHORT, "char"),
    "blank goals": (BLANK_GOALS, "13a"),
    "nothing written": ([("", "some words"), ("", "others")], "13a"),
    "nothing right": ([("one two three four", "five six seven eight")], "13a"),
    "random": (random_pairs(0, 60, "abc  12.,-&;é"), "13a"),
    "random of two letters": (random_pairs(1, 60, "ab "), "13a"),
    "random chinese": (random_pairs(2, 60, "的一是在不了 ,。a1.-"), "zh"),
}


def expected(name: str, pairs: Pairs, tokenizer: tm.Tokenizer) -> float:
    """What the other libraries give."""
    written, right = [one for one, _ in pairs], [other for _, other in pairs]
    if name == "bleu":
        return BLEU(tokenize=tokenizer).corpus_score(written, [right]).score
    if name == "chrf":
        return CHRF().corpus_score(written, [right]).score
    if name == "exact":
        return sum(one.strip() == other.strip() for one, other in pairs) / len(pairs)
    if name == "wer":  # jiwer takes a lone tab or line break for a letter; here any blank parts words
        return jiwer.wer([" ".join(text.split()) for text in right], [" ".join(text.split()) for text in written])
    return jiwer.cer(right, written)


def sums_of(pairs: Pairs, tokenizer: tm.Tokenizer) -> metrics.Array:
    return tm.sums([one for one, _ in pairs], [other for _, other in pairs], tokenizer)


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("name", tm.TEXT)
def test_agrees_with_other_libraries_on_the_corpus_and_on_resamples(name: str, corpus: str) -> None:
    pairs, tokenizer = CORPORA[corpus]
    weights = np.concatenate(
        [np.ones((1, len(pairs))), metrics.resample_weights(len(pairs), 4, seed=3), np.eye(len(pairs))[:8]]
    )
    values = tm.TEXT[name][0](sums_of(pairs, tokenizer), np.zeros(len(pairs)), weights)
    assert values.shape == (len(weights),)
    for value, row in zip(values, weights, strict=True):
        repeated = [pair for pair, count in zip(pairs, row, strict=True) for _ in range(int(count))]
        assert value == pytest.approx(expected(name, repeated, tokenizer), abs=1e-9)


def test_the_corpora_meet_what_they_are_for() -> None:
    """Smoothing of two orders; no row of four tokens; no match; a blank goal."""
    total = {name: sums_of(*CORPORA[name]).sum(0) for name in CORPORA}
    assert ((total["no long matches"][tm.BLEU_MATCHES] > 0) == [True, True, False, False]).all()
    assert (total["no long matches"][tm.BLEU_WRITTEN] > 0).all()
    assert total["short"][tm.BLEU_WRITTEN][3] == 0 < total["short"][tm.BLEU_MATCHES][0]
    assert total["nothing right"][tm.BLEU_MATCHES].sum() == 0 < total["nothing right"][tm.BLEU_WRITTEN][3]
    assert 0 in sums_of(*CORPORA["blank goals"])[:, tm.CHARS]
    assert 5 < expected("bleu", *CORPORA["no long matches"]) < 30


def test_values_by_hand() -> None:
    # 6 right words, 1 substituted, 1 too many; the second row is right
    pairs = [("the cat sat on a mat now", "the cat sat on the mat"), ("yes it is so", "yes it is so")]
    rows, none, ones = sums_of(pairs, "13a"), np.zeros(2), np.ones((1, 2))
    assert tm.wer(rows, none, ones)[0] == 2 / 10
    assert tm.cer(rows, none, ones)[0] == (3 + 4) / (22 + 12)  # "the" for "a": 3 edits; " now": 4
    assert tm.exact(rows, none, ones)[0] == 0.5
    # n-grams right of those written: 5 + 4 of 7 + 4, 3 + 3 of 6 + 3, 2 + 2 of 5 + 2, 1 + 1 of 4 + 1; long enough
    assert rows.sum(0)[tm.BLEU_MATCHES].tolist() == [9, 6, 4, 2]
    assert rows.sum(0)[tm.BLEU_WRITTEN].tolist() == [11, 9, 7, 5]
    assert tm.bleu(rows, none, ones)[0] == pytest.approx(100 * (9 / 11 * 6 / 9 * 4 / 7 * 2 / 5) ** 0.25)
    assert tm.wer(rows, none, np.array([[3.0, 1.0]]))[0] == pytest.approx(6 / 22)


def test_bleu_of_a_short_and_smoothed_text_by_hand() -> None:
    # 4 of 4, 2 of 3, none of 2, none of 1; 4 tokens where 5 are right
    rows = sums_of([("a b d c", "a b x d c")], "13a")
    precisions = 1.0 * (2 / 3) * (1 / (2 * 2)) * (1 / (4 * 1))
    assert tm.bleu(rows, np.zeros(1), np.ones((1, 1)))[0] == pytest.approx(100 * np.exp(1 - 5 / 4) * precisions**0.25)


def test_chrf_by_hand() -> None:
    # "abcd" for "abce": 3 of 4, 2 of 3, 1 of 2, 0 of 1; no longer n-grams; precision and recall are equal
    rows = sums_of([("ab cd", "abc e")], "13a")
    assert tm.chrf(rows, np.zeros(1), np.ones((1, 1)))[0] == pytest.approx(100 * (3 / 4 + 2 / 3 + 1 / 2) / 4)
    # "ab" for "abcd": precision 1 and 1, recall 2/4 and 1/3, over two orders
    rows = sums_of([("ab", "abcd")], "13a")
    recall = (2 / 4 + 1 / 3) / 2
    assert tm.chrf(rows, np.zeros(1), np.ones((1, 1)))[0] == pytest.approx(100 * 5 * recall / (4 + recall))


def test_rates_go_above_one_and_without_right_words_are_the_edits() -> None:
    rows = sums_of([("a b c", "x"), ("a b", ""), ("", "")], "13a")
    assert tm.wer(rows, np.zeros(3), np.eye(3)).tolist() == [3.0, jiwer.wer("", "a b"), 0.0]
    assert tm.cer(rows, np.zeros(3), np.eye(3)).tolist() == [5.0, jiwer.cer("", "a b"), 0.0]


def test_weights_need_not_be_whole() -> None:
    rows = sums_of(ENGLISH, "13a")
    whole, part = np.arange(1.0, 9.0)[None], np.arange(1.0, 9.0)[None] / 7
    for metric, _ in tm.TEXT.values():
        assert metric(rows, np.zeros(8), part)[0] == pytest.approx(metric(rows, np.zeros(8), whole)[0])


def test_an_interval_takes_the_sums_as_predicted() -> None:
    rows = sums_of(ENGLISH * 5, "13a")
    for name, (metric, higher) in tm.TEXT.items():
        found = metrics.interval(metric, rows, np.zeros(40), metrics.resample_weights(40, 200))
        assert found.low < found.value < found.high and found.n == 40
        perfect = sums_of([(right, right) for _, right in ENGLISH], "13a")
        best = metric(perfect, np.zeros(8), np.ones((1, 8)))[0]
        assert (best > found.value) == higher, name
        assert best == pytest.approx({"bleu": 100, "chrf": 100, "exact": 1}.get(name, 0))


def test_no_rows_and_uneven_rows() -> None:
    assert tm.sums([], [], "13a").shape == (0, tm.COLUMNS)
    with pytest.raises(ValueError):
        tm.sums(["a"], [], "13a")


@pytest.mark.parametrize("tokenizer", ["13a", "zh", "char"])
def test_tokens_are_those_of_sacrebleu(tokenizer: tm.Tokenizer) -> None:
    reference = BLEU(tokenize=tokenizer)
    generator = random.Random(5)
    pieces = [
        *"abZ 019.,-'!\"#$%&()*+/:;<=>?@[\\]^_`{|}~\n\té中,。“—…―‑€カ㍿⺀ℓ",
        "<skipped>",
        "&quot;",
        "&amp;",
        "&lt;",
        "&gt;",
    ]
    pieces += ["-\n", "...", "1.5", "3,", ",4", "2-", "\u2028", "\U00020021"]
    for _ in range(3000):
        text = "".join(generator.choices(pieces, k=generator.randrange(15)))
        assert tm.tokens(text, tokenizer) == reference._preprocess_segment(text).split()


def test_zh_sets_apart_the_same_characters() -> None:
    reference = BLEU(tokenize="zh").tokenizer
    for code in [*range(0x21, 0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x20100), 0x2A6D7, 0x2F800]:
        text = f"a{chr(code)}b"
        assert len(tm.tokens(text, "zh")) == len(reference(text).split()), hex(code)


@pytest.mark.parametrize(
    ("pairs", "tokenizer"),
    [(ENGLISH, "13a"), (GERMAN, "13a"), (CHINESE, "zh"), (THAI, "char"), (JAPANESE, "char"), ([("", "")], "13a")],
)
def test_the_tokenizer_suits_the_script(pairs: Pairs, tokenizer: str) -> None:
    assert tm.tokenizer_for(right for _, right in pairs) == tokenizer


def test_three_tenths_of_the_letters_choose() -> None:
    assert tm.tokenizer_for(["abcdefg 中文字 123456789"]) == "13a"
    assert tm.tokenizer_for(["abcdef 中文字 123456789"]) == "zh"
    assert tm.tokenizer_for(["abcdefg カナ", "ひ"]) == "13a"
    assert tm.tokenizer_for(["abcdef カナ", "ひ"]) == "char"
    assert tm.tokenizer_for(["한국어는 띄어쓰기를 한다"]) == "13a"
    assert tm.tokenizer_for(["ខ្ញុំស្រឡាញ់"]) == tm.tokenizer_for(["မြန်မာ"]) == tm.tokenizer_for(["ພາສາລາວ"]) == "char"


@pytest.mark.parametrize("tokenizer", ["13a", "zh", "char"])
def test_the_signature_is_sacrebleus(tokenizer: tm.Tokenizer) -> None:
    lines = []
    for metric in (BLEU(tokenize=tokenizer), CHRF()):
        score = metric.corpus_score(["a b"], [["a b"]])
        lines.append(f"{score.name}|{metric.get_signature()}".partition("|version")[0])
    assert tm.signature(tokenizer) == " ".join(lines)


def test_edits_are_levenshteins_for_any_length() -> None:
    generator = random.Random(7)
    for _ in range(500):
        one, other = ("".join(generator.choices("abcd", k=generator.randrange(150))) for _ in range(2))
        assert tm.edits(one, other) == Levenshtein.distance(one, other)
    assert tm.edits("kitten", "sitting") == 3 and tm.edits("", "abc") == 3 and tm.edits("abc", "") == 3
    assert tm.edits(["big", "cat"], ["big", "black", "cat"]) == 1


@pytest.mark.parametrize("unit", [str.split, list])
def test_an_alignment_has_as_many_steps_as_edits_and_both_texts(unit: object) -> None:
    for written, right in [*ENGLISH, *CHINESE, *THAI, *random_pairs(9, 100, "abc ")]:
        one, other = unit(written), unit(right)  # type: ignore[operator]
        steps = tm.alignment(one, other)
        assert sum(step[0] != "equal" for step in steps) == tm.edits(one, other)
        assert [step[1] for step in steps if step[1] is not None] == one
        assert [step[2] for step in steps if step[2] is not None] == other
        for operation, mine, theirs in steps:
            assert (operation == "equal") == (mine == theirs)
            assert (operation == "insert") == (theirs is None) and (operation == "delete") == (mine is None)


def test_an_alignment_by_hand() -> None:
    assert tm.alignment(tm.units("the cat sat down", "13a"), tm.units("a cat has sat", "13a")) == [
        ("substitute", "the", "a"),
        ("equal", "cat", "cat"),
        ("delete", None, "has"),
        ("equal", "sat", "sat"),
        ("insert", "down", None),
    ]
    assert tm.alignment("", "猫") == [("delete", None, "猫")]
    assert tm.alignment([], []) == []


def test_an_alignment_keeps_the_most_units_of_those_with_fewest_edits() -> None:
    """Against all alignments of short texts: fewest edits first, then most kept."""

    def best(one: str, other: str) -> tuple[int, int]:
        if not one or not other:
            return len(one) + len(other), 0
        same = one[-1] == other[-1]
        edits, kept = best(one[:-1], other[:-1])
        diagonal = (edits + (not same), kept - same)
        return min(diagonal, *((way[0] + 1, way[1]) for way in (best(one[:-1], other), best(one, other[:-1]))))

    generator = random.Random(13)
    for _ in range(60):
        one, other = ("".join(generator.choices("abc", k=generator.randrange(6))) for _ in range(2))
        operations = [step[0] for step in tm.alignment(one, other)]
        kept = operations.count("equal")
        assert (len(operations) - kept, -kept) == best(one, other)


def test_substitutions_are_counted_over_rows_and_the_most_frequent_come_first() -> None:
    pairs = [("a dog ran", "the dog ran"), ("a bat", "the cat"), ("so a bat", "so the cat"), ("one more", "one")]
    split = [(tm.units(one, "13a"), tm.units(other, "13a")) for one, other in pairs]
    assert tm.substitutions(split) == [("a", "the", 3), ("bat", "cat", 2)]
    assert tm.substitutions(split, top=1) == [("a", "the", 3)]
    characters = [(tm.units(one, "zh"), tm.units(other, "zh")) for one, other in CHINESE]
    assert tm.substitutions(characters)[:2] == [("很", "真", 1), ("在", "于", 1)]


def test_a_thousand_rows_take_little_time() -> None:
    generator = random.Random(11)
    one, other = (["".join(generator.choices("abcdefgh ", k=80)) for _ in range(1000)] for _ in range(2))
    start = time.process_time()
    for written, right in zip(one, other, strict=True):
        tm.edits(written, right)
    assert time.process_time() - start < 1.5
