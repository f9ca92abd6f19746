"""Writes packages/plug/test-data/metrics/cases.json.gz: random cases scored by sacrebleu, rouge-score, scikit-learn, nltk and scipy.

Run by hand, in an environment with sacrebleu 2.5.1, rouge-score 0.1.2, scikit-learn 1.9.1, scipy 1.17.1 and nltk 3.10.4, with the
official script of CMRC2018 (squad-style-data/cmrc2018_evaluate.py of github.com/ymcui/cmrc2018):
    python bench/peers/metrics_reference.py cmrc2018_evaluate.py
The tests read the file; they need no Python.
"""
import gzip
import json
import math
import pathlib
import random
import re
import sys

import nltk
import sacrebleu
import scipy
import sklearn
from rouge_score import rouge_scorer
from scipy.stats import binomtest, gmean
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

OUT = pathlib.Path(__file__).parents[2] / "packages/plug/test-data/metrics/cases.json.gz"
ALPHABETS = ["春江潮水", "春江潮水连海平明月共潮生", "春𠮷a1，。 "]


class Characters:
    def tokenize(self, text):
        return [c for c in text if not c.isspace()]


def spaced(text):
    return " ".join(Characters().tokenize(text))


def text_case(rng):
    alphabet = rng.choice(ALPHABETS)
    draw = lambda low: "".join(rng.choice(alphabet) for _ in range(rng.randint(low, 14)))
    references = rng.randint(1, 2)
    pairs = []
    for _ in range(rng.randint(1, 4)):
        refs = [draw(1) for _ in range(references)]
        # Often near a reference, so that 4-grams are shared.
        candidate = draw(0) if rng.random() < 0.4 else refs[0][: rng.randint(1, 14)] + draw(0)[:3]
        pairs.append([candidate, refs])
    bleu = sacrebleu.corpus_bleu(
        [spaced(c) for c, _ in pairs],
        [[spaced(r[i]) for _, r in pairs] for i in range(references)],
        tokenize="none", smooth_method="none", force=True,
    ).score / 100
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Characters())
    rouge = [
        sum(max(scorer.score(r, c)[name].fmeasure for r in refs) for c, refs in pairs) / len(pairs)
        for name in ("rouge1", "rouge2", "rougeL")
    ]
    return {"pairs": pairs, "bleu": bleu, "rouge": rouge}


def label_case(rng):
    classes = rng.randint(2, 6)
    gold = [rng.randrange(classes) for _ in range(rng.randint(1, 40))]
    predicted = [g if rng.random() < 0.6 else rng.randrange(classes) for g in gold]
    return {
        "gold": gold,
        "predicted": predicted,
        "accuracy": accuracy_score(gold, predicted),
        "macroF1": f1_score(gold, predicted, average="macro", zero_division=0),
    }


def variety_case(rng):
    texts = ["".join(rng.choice(rng.choice(ALPHABETS)) for _ in range(rng.randint(0, 12))) for _ in range(rng.randint(1, 5))]
    grams = lambda n: [gram for text in texts for gram in nltk.ngrams(Characters().tokenize(text), n)]
    return {"texts": texts, "distinct": [len(set(all_)) / len(all_) if (all_ := grams(n)) else None for n in (1, 2)]}


def paired_case(rng):
    """Answers of two systems: McNemar's exact test is the binomial one of the examples that only one has right."""
    gold = [rng.randrange(3) for _ in range(rng.randint(1, 50))]
    answers = [[g if rng.random() < share else rng.randrange(3) for g in gold] for share in (0.7, rng.random())]
    first, second = ([a == g for a, g in zip(system, gold)] for system in answers)
    only = confusion_matrix(first, second, labels=[False, True])
    b, c = int(only[1, 0]), int(only[0, 1])
    return {"gold": gold, "answers": answers, "only": [b, c], "p": binomtest(b, b + c).pvalue if b + c else 1.0}


def likelihood_case(rng):
    """Probabilities of the right tokens."""
    right = [rng.randint(1, 999) / 1000 for _ in range(rng.randint(1, 12))]
    characters = rng.randint(1, 80)
    return {
        "right": right,
        "nats": log_loss([1] * len(right), [[1 - p, p] for p in right], labels=[0, 1], normalize=False),
        "perplexity": 1 / gmean(right),
        "characters": characters,
        "bitsPerCharacter": -sum(map(math.log2, right)) / characters,
    }


def official_span_scores(path):
    """The functions of the official script, which is Python 2, for Python 3."""
    source = pathlib.Path(path).read_text(encoding="utf8").split("if __name__")[0]
    for old, new in [("reload(sys)", ""), ("sys.setdefaultencoding('utf8')", ""), (".decode('utf-8')", ""), ("ur'", "r'")]:
        source = source.replace(old, new)
    functions = {}
    exec(compile(source, path, "exec"), functions)  # noqa: S102
    # Without sentence splitting, which needs a downloaded model and matters only for texts with full stops.
    nltk.word_tokenize = nltk.tokenize.NLTKWordTokenizer().tokenize
    return functions["calc_f1_score"], functions["calc_em_score"]


def span_case(rng, f1, exact):
    pieces = list("春江潮水连海平，。《》…-") + ["2021", "PLUG", "plug", "1,000", "3.5", " "]
    draw = lambda low: "".join(rng.choice(pieces) for _ in range(rng.randint(low, 8)))
    answers = [re.sub(r"^ +$", "春", draw(1)) for _ in range(rng.randint(1, 3))]
    prediction = draw(0) if rng.random() < 0.5 else draw(0)[:2] + rng.choice(answers)
    return {
        "prediction": prediction,
        "answers": answers,
        "f1": f1(answers, prediction),
        "exactMatch": exact(answers, prediction),
    }


def main():
    f1, exact = official_span_scores(sys.argv[1])
    rng = random.Random(17)
    cases = {
        "versions": {
            "sacrebleu": sacrebleu.__version__,
            "rouge-score": "0.1.2",
            "scikit-learn": sklearn.__version__,
            "nltk": nltk.__version__,
            "scipy": scipy.__version__,
        },
        "texts": [text_case(rng) for _ in range(3000)],
        "spans": [span_case(rng, f1, exact) for _ in range(3000)],
        "labels": [label_case(rng) for _ in range(3000)],
        "varieties": [variety_case(rng) for _ in range(1000)],
        "pairs": [paired_case(rng) for _ in range(1000)],
        "likelihoods": [likelihood_case(rng) for _ in range(1000)],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(gzip.compress(json.dumps(cases, ensure_ascii=False).encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
