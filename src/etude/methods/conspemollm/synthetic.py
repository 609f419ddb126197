"""Two dozen tweets and two dozen short articles written by us: marked synthetic, for trying things out.

They show the formats and that everything runs. They are no evidence about conspiracy theories or detectors:
whoever wrote them knew the labels.
"""

from __future__ import annotations

from etude.methods.conspemollm.builder import ConDIDBuilder
from etude.methods.conspemollm.coco import Tweet
from etude.methods.conspemollm.label_policies import LabelPolicy
from etude.methods.conspemollm.loco import Annotation

SOURCE = "synthetic"
# text, categories it supports, categories it only mentions (numbers of the theory-type classes)
_TWEETS: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("They locked the cheap remedy away in a vault so that the clinics keep earning. Wake up.", (0,), ()),
    (
        "My uncle swears a kitchen herb cures it and that doctors were told to keep quiet. I have my doubts.",
        (),
        (0,),
    ),
    ("Curfews were never about health. They train us to obey, one rule at a time.", (1,), ()),
    ("The jab holds a secret ingredient and every nurse knows it. Refuse it!", (2,), ()),
    ("Read a thread that claims the jab rewrites your genes. It does not, here is how it works.", (), (2,)),
    ("There is no virus. The wards are empty and the actors get paid by the hour.", (3,), ()),
    ("Somebody brewed this germ on purpose and sold the antidote the week before.", (4,), (0,)),
    ("Funny how it all began the month they switched on those masts. The waves make us ill.", (5,), ()),
    (
        "A neighbor burned down a mast because of some rumor. Now nobody in the village has a signal.",
        (),
        (5,),
    ),
    ("The rich want fewer of us. This outbreak is step one of the great thinning.", (6, 4), ()),
    ("One government, one coin, one leash: the outbreak is how they get there.", (7,), ()),
    ("Essay on why talk of a world government spreads in hard times. Worth a read.", (), (7,)),
    ("The rituals of the powerful need fear, and the outbreak feeds it to their dark lord.", (8,), ()),
    ("The planets lined up wrong and our low vibrations let the illness in.", (9,), ()),
    ("Follow the money: the tests, the masks, the apps, one secret family owns them all.", (10,), ()),
    ("Drinking hot water every hour washes the germ into the stomach. Pass it on.", (11,), ()),
    ("Our choir meets again on Tuesday, windows open, bring a warm coat.", (), ()),
    ("Two hours in the queue for a test, but the nurses were lovely.", (), ()),
    ("The city reports fewer cases for the third week in a row.", (), ()),
    ("Baked bread again. The neighbors now hide when I come with another loaf.", (), ()),
    ("School opens on Monday, half the class at a time. My son cannot wait.", (), ()),
    ("New figures from the health office, with the method explained in the appendix.", (), ()),
    ("Is the train to the coast running this weekend, does anyone know?", (), ()),
    ("Grandmother got her second dose today and celebrated with cake.", (), ()),
)
_CORONAVIRUS, _SANDY_HOOK = "coronavirus", "sandy hook"
# topic, judgment, relatedness, text
_ARTICLES: tuple[tuple[str, str, str, str], ...] = (
    (_CORONAVIRUS, "Y", "C", "Nobody dares to say it, so we will. The outbreak was planned in a quiet villa years ago, and the men who planned it now sell the cure. Every paper that denies this is on their payroll."),
    (_CORONAVIRUS, "Y", "C", "The numbers are invented. A porter who must stay nameless told us that the wards stand empty while the cameras film dolls. They want you afraid, because the afraid obey."),
    (_CORONAVIRUS, "Y", "C", "First came the masts, then the coughing. The engineers know what the waves do to the blood, and those who spoke have vanished from the company's list."),
    (_CORONAVIRUS, "Y", "B", "It was never about a germ. The secret council needs a crisis every ten years to move the world one step closer to its single throne, and this time it chose a fever."),
    (_CORONAVIRUS, "Y", "C", "Why does the needle need your name, your house and your thumb? Because the fluid carries a mark, and those who carry the mark can be switched off."),
    (_CORONAVIRUS, "Y", "B", "The old families meet in the mountains and count us like cattle. Their letters speak of too many mouths. Now look around and tell me that the fever is an accident."),
    (_CORONAVIRUS, "N", "C", "Where did the rumor about the masts begin? We traced it to a local interview that was cut short, translated twice and shared by people who meant well. Physicists explain why the waves cannot do this."),
    (_CORONAVIRUS, "N", "C", "The laboratory published its records after weeks of questions. Virologists from four countries read them and found no trace of an escape, though they ask for more samples."),
    (_CORONAVIRUS, "N", "B", "Hospitals in the valley share beds again. The director thanked the volunteers and said that the worst of the winter is over."),
    (_CORONAVIRUS, "N", "C", "The trial of the new vaccine has ended. Side effects were mostly sore arms; the full tables are public, and an outside board has checked them."),
    (_CORONAVIRUS, "N", "N", "The bakery on the square turns one hundred. Its owner still keeps the first oven, and on Saturday the bread is sold at the old price."),
    (_CORONAVIRUS, "N", "N", "The council will mend the bridge in spring. Until then buses take the long way round, and the school starts a quarter of an hour later."),
    (_SANDY_HOOK, "Y", "C", "Look at the father's smile before he steps to the microphone. He was hired, as they all were, and the school had stood empty for years. It was a play, and you paid for the ticket."),
    (_SANDY_HOOK, "Y", "C", "The films were made the day before; the clock on the wall proves it. Those who ask why are called mad by the very people who wrote the script."),
    (_SANDY_HOOK, "Y", "C", "No ambulance, no blood, no questions. The town was chosen because everyone in it owes them something, and the money arrived before the mourners did."),
    (_SANDY_HOOK, "Y", "B", "Every such day is followed by a law that was already written. They stage grief to take away the last thing that keeps us free, and the newsmen know their lines."),
    (_SANDY_HOOK, "Y", "C", "We have compared the faces. The same actress weeps in three towns under three names, and her agency belongs to a man who dines with ministers."),
    (_SANDY_HOOK, "Y", "B", "A hidden hand steers these tragedies. Whoever follows the money ends up, each time, at the same table with the same ten chairs."),
    (_SANDY_HOOK, "N", "C", "A court has ordered the broadcaster to pay the families whom he called actors. The parents told the judge how strangers had followed them for years."),
    (_SANDY_HOOK, "N", "C", "How does a hoax story live on? A study of ten thousand posts finds a few tireless accounts, a great many jokes, and very few people who believe all of it."),
    (_SANDY_HOOK, "N", "B", "The governor signed the bill on background checks after a long night of debate. Both sides announced that they will go to court."),
    (_SANDY_HOOK, "N", "C", "The new school has wide windows and a garden that the children planted. The architect spoke with every family before the first line was drawn."),
    (_SANDY_HOOK, "N", "N", "The regional chess open ended with a surprise: a pupil of fourteen beat the champion in a quiet ending and then went to do her homework."),
    (_SANDY_HOOK, "N", "N", "After the storm the harbor is open again. Fishermen expect a good season, since the water stayed cold for long."),
)  # fmt: skip


def synthetic_tweets() -> list[Tweet]:
    """The tweets, as COCO has them: each category 1, 2 or 3."""
    made = []
    for number, (text, supported, mentioned) in enumerate(_TWEETS, start=1):
        levels = tuple(3 if at in supported else 2 if at in mentioned else 1 for at in range(12))
        made.append(Tweet(f"synthetic-tweet-{number}", text, levels))
    return made


def synthetic_articles() -> tuple[list[Annotation], dict[str, str]]:
    """The articles, as LOCO has them: annotations, and texts by document id."""
    annotations, texts = [], {}
    for number, (topic, judgment, relatedness, text) in enumerate(_ARTICLES, start=1):
        name = f"synthetic-article-{number}"
        annotations.append(Annotation(name, topic, "Majority", judgment, relatedness))
        texts[name] = text
    return annotations, texts


def synthetic_builder(policy: LabelPolicy | None = None) -> ConDIDBuilder:
    """A builder that holds all of them."""
    annotations, texts = synthetic_articles()
    builder = ConDIDBuilder(policy).add_tweets(synthetic_tweets(), SOURCE)
    return builder.add_documents(annotations, texts, "the synthetic articles", SOURCE)
