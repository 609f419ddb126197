"""The card of bioelqa."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="bioelqa",
    purpose="Link names in text to the ids of any vocabulary, as multiple choice with solved examples",
    paper="Biomedical Entity Linking as Multiple Choice Question Answering",
    arxiv="2402.15189",
    verbs={
        "index": "Make a vocabulary searchable: TSV, JSONL, OBO or HPO",
        "train": "Train retriever and selector on PubTator files; resumes after a kill",
        "link": "Link mentions to ids, with scores, options and solved cases; resumes after a kill",
        "evaluate": "Score links by slice, beside the retriever's own first choice",
        "run": "Train, evaluate, and write a page",
    },
    claim=("Choosing among retrieved options with similar solved cases beats the retriever's first choice."),
    data=(
        "a folder with bc5cdr_train.pubtator.txt, bc5cdr_dev.pubtator.txt (BioCreative V CDR) and "
        "mesh_names.tsv (id, preferred name; no header): --data DIR"
    ),
    figures=(
        ("what", "paper"),
        ("Acc@1 on NCBI-Disease, BC5CDR, COMETA, AAP (Table 1)", ""),
        ("without kNN module", ""),
        ("without augmentation and shuffling", ""),
        ("without retriever training", ""),
        ("by frequency of the entity, by N, by k, by size of the generator", ""),
    ),
    figures_note=(
        "The paper's exact values were not available to us: the cells are for you to fill in. It reports "
        "the best accuracy on all sets, and the largest gains on rare entities."
    ),
)
