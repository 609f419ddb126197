"""One side of the bioelqa benchmark in a process of its own: `python _bioelqa_worker.py SIDE JOB.json`.

Sides: etude, naive (scipy product and argsort, mention by mention), scispacy (in its own environment).
"""

import contextlib
import json
import sys
import time

from _peak import peak_mb
from _worker_rounds import serve


def etude(job):
    import numpy as np
    import sklearn.feature_extraction.text  # noqa: F401 - the other sides have it before they begin, too

    from etude.methods.bioelqa.ngram_retriever import CharNgram

    before = peak_mb()
    retriever = CharNgram()
    retriever.fit(job["names"])
    index = retriever.index(retriever.encode(job["names"]), np.array(job["owners"]))
    built = peak_mb() - before

    def search():
        return [top.owners.tolist() for top in index.top(retriever.encode(job["queries"]), 10)]

    return search, built


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

    return search, built


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
    listed, vectorizer, ann = candidate_generation.create_tfidf_ann_index(None, kb)
    generator = candidate_generation.CandidateGenerator(ann, vectorizer, listed, kb)
    built = peak_mb() - before

    def search():
        found = []
        for candidates in generator(job["queries"], 30):
            best = sorted(candidates, key=lambda c: -max(c.similarities))[:10]
            found.append([int(c.concept_id) for c in best])
        return found

    return search, built


def main():
    side, path = sys.argv[1:]
    with open(path) as handle:
        job = json.load(handle)
    with contextlib.redirect_stdout(sys.stderr):
        search, built = {"etude": etude, "naive": naive, "scispacy": scispacy}[side](job)

    def work():
        started = time.process_time()
        found = search()
        taken = time.process_time() - started
        pairs = list(zip(found, job["gold"], strict=True))
        return {
            "cpu": taken,
            "first": found,
            "recall@1": sum(f[:1] == [g] for f, g in pairs) / len(pairs),
            "recall@10": sum(g in f for f, g in pairs) / len(pairs),
            "peak": peak_mb(),
        }

    serve({"index": built}, work)


if __name__ == "__main__":
    main()
