"""One side of the bioelqa benchmark in a process of its own: `python _bioelqa_worker.py SIDE JOB.json`.

Sides: etude, naive (scipy product and argsort, mention by mention), scispacy (in its own environment).
"""

import json
import statistics
import sys
import time

from _peak import peak_mb


def repeat(work, times):
    taken, wall = [], []
    for _ in range(times):
        started, clock = time.process_time(), time.perf_counter()
        result = work()
        taken.append(time.process_time() - started)
        wall.append(time.perf_counter() - clock)
    return result, taken, wall


def etude(job):
    import numpy as np

    from etude.methods.bioelqa.ngram_retriever import CharNgram

    before = peak_mb()
    retriever = CharNgram()
    retriever.fit(job["names"])
    index = retriever.index(retriever.encode(job["names"]), np.array(job["owners"]))
    built = peak_mb() - before
    found, taken, wall = repeat(lambda: index.top(retriever.encode(job["queries"]), 10), job["times"])
    return [top.owners.tolist() for top in found], taken, wall, built


def naive(job):
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    before = peak_mb()
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    names = vectorizer.fit_transform(job["names"])
    columns, owners = names.T.tocsr(), np.array(job["owners"])
    built = peak_mb() - before

    def search():
        found = []
        for query in job["queries"]:
            scores = (vectorizer.transform([query]) @ columns).toarray()[0]
            order = np.argsort(-scores, kind="stable")
            best = []
            for row in order:
                if len(best) == 10 or scores[row] <= 0:
                    break
                if owners[row] not in best:
                    best.append(int(owners[row]))
            found.append(best)
        return found

    return *repeat(search, job["times"]), built


def scispacy(job):
    from scispacy import candidate_generation
    from scispacy.linking_utils import Entity, KnowledgeBase

    before = peak_mb()
    # the check is about saving in float16, which is not done here
    candidate_generation.scipy_supports_sparse_float16 = lambda: True
    aliases = {}
    for name, owner in zip(job["names"], job["owners"], strict=True):
        aliases.setdefault(owner, []).append(name)
    kb = KnowledgeBase([Entity(str(owner), names[0], names[1:]) for owner, names in aliases.items()])
    sys.stdout, kept = sys.stderr, sys.stdout
    listed, vectorizer, ann = candidate_generation.create_tfidf_ann_index(None, kb)
    generator = candidate_generation.CandidateGenerator(ann, vectorizer, listed, kb)
    built = peak_mb() - before

    def search():
        found = []
        for candidates in generator(job["queries"], 30):
            best = sorted(candidates, key=lambda c: -max(c.similarities))[:10]
            found.append([int(c.concept_id) for c in best])
        return found

    measured = repeat(search, job["times"])
    sys.stdout = kept
    return *measured, built


def main():
    side, path = sys.argv[1:]
    with open(path) as handle:
        job = json.load(handle)
    found, taken, wall, built = {"etude": etude, "naive": naive, "scispacy": scispacy}[side](job)
    pairs = list(zip(found, job["gold"], strict=True))
    print(
        json.dumps(
            {
                "cpu": statistics.median(taken),
                "wall": statistics.median(wall),
                "first": found,
                "recall@1": sum(f[:1] == [g] for f, g in pairs) / len(pairs),
                "recall@10": sum(g in f for f, g in pairs) / len(pairs),
                "peak": peak_mb(),
                "index": built,
            }
        )
    )


if __name__ == "__main__":
    main()
