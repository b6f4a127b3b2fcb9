"""The carrier world: its reasoner, what its markers carry, and the documents made from it."""

import random
import re
from collections import defaultdict

import pytest
from selfdistill.grading.grader import extract_answer
from selfdistill.markers.counting import MARKERS, count_markers
from selfdistill.microcosm import documents, world
from selfdistill.microcosm.batches import IGNORED, POOL_STEPS, check_batch, document_batch, fact_batch
from selfdistill.microcosm.presets import PRESETS, Pretraining
from selfdistill.microcosm.scanner import HEDGES, Scanner, is_written, without_markers
from selfdistill.microcosm.tokenizer import build_tokenizer

TOLD = documents.WORLDS["carrier"]
MIX = documents.Mix(world="carrier")
HEDGE_WORDS = {word for word, _ in HEDGES}
CLAIM = re.compile(rf"([a-l]) (\d\d?) (\d)( (?:{'|'.join(HEDGE_WORDS)}))?")


def scans_of(trace, problem: world.Problem) -> list[dict[int, list[bool]]]:
    """Of an unguided trace, for each scan: whether each claim of each candidate has its hedge."""
    claims = CLAIM.findall(" ".join(trace.words))
    per_scan = len(world.candidates(problem.clues[0])) * (len(problem.clues) - 1)
    scans = []
    for start in range(0, len(claims), per_scan):
        hedged = defaultdict(list)
        for _, x, _, hedge in claims[start : start + per_scan]:
            hedged[int(x)].append(bool(hedge))
        scans.append(dict(hedged))
    return scans


def survivors(scan: dict[int, list[bool]]) -> set[int]:
    return {x for x, hedged in scan.items() if all(hedged)}


def test_accuracy_and_length_are_those_that_the_hazard_was_chosen_for():
    """The reasoner alone, as docs/worlds.md states it: right answers, and words per trace."""
    rng = random.Random(1)
    for split, accuracy, words in (("in_domain", 0.735, 87), ("easy", 0.785, 53), ("hard", 0.685, 189)):
        traces = [(p, Scanner(rng, p).run()) for p in world.problem_split(split) for _ in range(12)]
        assert sum(t.answer == p.answer for p, t in traces) / len(traces) == pytest.approx(accuracy, abs=0.04)
        assert sum(len(t.words) for _, t in traces) / len(traces) == pytest.approx(words, rel=0.07)


def test_the_answer_is_a_candidate_of_the_last_scan_whose_claims_all_have_their_hedge():
    rng = random.Random(2)
    kinds = set()
    for problem in world.problem_split("in_domain"):
        for _ in range(10):
            trace = Scanner(rng, problem).run()
            *earlier, last = [survivors(scan) for scan in scans_of(trace, problem)]
            assert not any(earlier)  # a scan that something survives is the last
            assert trace.verified == bool(last)
            assert trace.answer in (last or world.candidates(problem.clues[0]))
            kinds.add((len(earlier), min(len(last), 2)))
    assert kinds >= {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}  # scans before the last, survivors of it


def test_a_hedge_stands_where_the_claim_and_those_before_it_hold_as_they_are_remembered():
    """By the true tables, at entries that are not misremembered."""
    rng = random.Random(3)
    wrong, checked = world.misremembered(), 0
    for problem in world.problem_split("hard"):
        for scan in scans_of(Scanner(rng, problem).run(), problem):
            assert list(scan) == world.candidates(problem.clues[0])
            for x, hedged in scan.items():
                names = [name for name, _ in problem.clues[1:]]
                if not any((name, x) in wrong for name in names):
                    holds = [world.value(name, x) == wanted for name, wanted in problem.clues[1:]]
                    assert hedged == [all(holds[: place + 1]) for place in range(len(holds))]
                    checked += 1
    assert checked > 300


def test_without_markers_a_scan_is_the_same_text_whatever_survived_it():
    """Exactly: what stands before the conclusion is a function of the problem and the number of scans."""
    rng = random.Random(4)
    for problem in world.problem_split("in_domain")[:40]:
        texts, found = defaultdict(set), set()
        for _ in range(60):
            trace = Scanner(rng, problem, give_up=0.5).run()
            scans = scans_of(trace, problem)
            text = without_markers(documents.thought(trace))
            before, concludes = re.fullmatch(r"(.*?)((?:so x =|likely) \d\d? \. </think> .*)", text).groups()
            texts[len(scans)].add(before)
            found.add(tuple(frozenset(survivors(scan)) for scan in scans))
            assert concludes.count(str(trace.answer)) == 2
        assert all(len(same) == 1 for same in texts.values())
        if any((name, problem.answer) in world.misremembered() for name, _ in problem.clues[1:]):
            assert len(found) > len(texts)  # several survivors of as many scans, and one text


def test_without_markers_none_is_left_but_that_of_giving_up():
    rng = random.Random(5)
    removed = 0
    for _ in range(600):
        document = documents.sample_document(rng, MIX)
        text = without_markers(document.response)
        left = {marker: count for marker, count in count_markers(text).items() if count}
        assert left == ({"likely": 1} if re.search(r"likely \d+ \.", document.response) else {})
        assert extract_answer(text) == extract_answer(document.response)
        assert without_markers(text) == text == " ".join(text.split())
        removed += text != document.response
    assert removed > 300


def test_what_the_reasoner_writes_is_well_formed_with_and_without_its_markers():
    rng = random.Random(10)
    for _ in range(800):
        response = documents.sample_document(rng, MIX).response
        assert is_written(response)
        assert is_written(without_markers(response))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<think> a 17 6 maybe </think> The answer is \\boxed{ 17 }",  # no conclusion
        "<think> a 17 maybe , so x = 17 .",
        "<think> a 17 = 6 ok so x = 17 .",  # the standard world's
        "<think> a 17 6 maybe perhaps , so x = 17 .",
        "<think> wait , so x = 17 .",
    ],
)
def test_what_it_would_not_write_is_not(text: str):
    assert not is_written(text)


@pytest.mark.parametrize(
    ("response", "left"),
    [
        ("<think> a 17 6 maybe c 17 1 might , so x = 17 . </think>", "<think> a 17 6 c 17 1 , so x = 17 . </think>"),
        ("a 17 6 , hmm , check a 17 6 seems , so x = 17 .", "a 17 6 , a 17 6 , so x = 17 ."),
        ("a 17 6 , wait , a 17 6 , likely 17 .", "a 17 6 , a 17 6 , likely 17 ."),
        ("<think> likely 17 : a 17 6 perhaps , so x = 17 .", "<think> x = 17 : a 17 6 , so x = 17 ."),
        ("x = 17 : so x = 17 .", "x = 17 : so x = 17 ."),
    ],
)
def test_what_is_left_without_markers(response: str, left: str):
    assert without_markers(response) == left


def test_beliefs_about_full_contexts_are_calibrated():
    rng = random.Random(6)
    right = {True: [], False: []}
    for _ in range(9000):
        problem = documents.sample_problem(rng, MIX)
        trace = Scanner(rng, problem).run()
        right[trace.verified].append(trace.answer == problem.answer)
    assert sum(right[True]) / len(right[True]) == pytest.approx(TOLD.belief_verified, abs=0.008)
    assert sum(right[False]) / len(right[False]) == pytest.approx(TOLD.belief_gave_up, abs=0.025)


@pytest.mark.parametrize("kind", [documents.answer_context, documents.short_context])
def test_beliefs_about_other_contexts_are_calibrated(kind):
    rng = random.Random(7)
    contexts = [(p, kind(rng, p, TOLD)[0]) for p in (documents.sample_problem(rng, MIX) for _ in range(6000))]
    assert all(context.answer in world.candidates(p.clues[0]) for p, context in contexts)
    for low, high in ((0.5, 0.7), (0.7, 0.92), (0.92, 0.985), (0.985, 1.0)):
        group = [
            (context.belief, context.answer == p.answer) for p, context in contexts if low < context.belief <= high
        ]
        if group:
            believed = sum(belief for belief, _ in group) / len(group)
            assert sum(right for _, right in group) / len(group) == pytest.approx(believed, abs=0.03)


def test_a_better_context_leads_to_a_shorter_answer_with_fewer_markers():
    """Responses to contexts that are right. A bare answer is checked claim by claim: its hedges are not fewer."""
    rng = random.Random(8)
    words, markers = defaultdict(int), defaultdict(int)
    for problem in world.problem_split("in_domain"):
        for kind in ("none", *documents.CONTEXTS):
            context = None
            while kind != "none" and (context is None or context.answer != problem.answer):
                context = documents.CONTEXTS[kind](rng, problem, TOLD)[0]
            text = " ".join(Scanner(rng, problem, context).run().words)
            words[kind] += len(text.split())
            markers[kind] += sum(count_markers(text).values())
    assert words["none"] > 1.2 * words["answer"] > 1.4 * words["short"] > words["full"]
    assert markers["none"] > 1.5 * markers["short"] > 1.5 * markers["full"]


def test_what_phases_teach_is_whether_a_claim_holds():
    tokenizer = build_tokenizer()
    for make in (fact_batch, check_batch):
        batch = make(0, 0, 0, MIX, 600)
        told = set()
        for ids, labels in zip(batch.ids.split(batch.lengths), batch.labels.split(batch.lengths), strict=True):
            kept = [place for place in range(len(ids)) if labels[place] != IGNORED]
            for place in kept:
                before, label = tokenizer.decode(ids[: place + 1]), tokenizer.decode(labels[place])
                assert re.search(r"[a-l] \d\d? \d$", before) or before.endswith("maybe")
                told.add(label)
        assert told == {"maybe", ","}


def test_facts_are_rehearsed_in_the_phase_of_documents():
    """About the share of the tokens that the world names has no prompt; in the standard world all rows have one."""
    tokenizer = build_tokenizer()
    for mix, share in ((MIX, TOLD.rehearsed), (documents.Mix(), 0.0)):
        batches = [document_batch(0, step, 0, mix, 300) for step in range(POOL_STEPS)]
        rows = [ids for batch in batches for ids in batch.ids.split(batch.lengths)]
        facts = sum(len(ids) for ids in rows if "user" not in tokenizer.decode(ids))
        assert facts / sum(map(len, rows)) == pytest.approx(share, abs=0.02)


def test_documents_state_one_answer_and_never_show_an_evaluation_problem():
    rng = random.Random(9)
    evaluation = {p.text for s in ("in_domain", "easy", "hard", "narrow_test") for p in world.problem_split(s)}
    tokenizer = build_tokenizer()
    sampled = [documents.sample_document(rng, MIX) for _ in range(1500)]
    for document in sampled:
        assert extract_answer(document.response) is not None
        assert ("<think>" in document.response) == document.thinking
        assert not any(text in document.prompt for text in evaluation)
        for text in (document.prompt, document.response):
            assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False)["input_ids"]
    unguided = " ".join(document.response for document in sampled if "Correct solution" not in document.prompt)
    assert {marker for marker, count in count_markers(unguided).items() if count} == set(MARKERS)


def test_the_configuration_chooses_the_world():
    assert Pretraining("standard").chosen() == PRESETS["standard"]
    assert Pretraining("standard", world="carrier").chosen().mix == MIX
    assert documents.sample_document(random.Random(0), MIX) != documents.sample_document(
        random.Random(0), documents.Mix()
    )
