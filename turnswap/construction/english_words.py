"""Words and phrases that fit almost any English request: what the generators fall back on, and what they leave out."""

_IN_EVERY_REQUEST = """
able about above across after again against all along also although always among another answer any anything are
around asks bullet because been before begin being below between both bring capital comma could describe
does doing done double down during each either else english entire even ever every exactly example explain
few first following format from full give given gives goes going good have having help hers here highlighted
highlight himself into instead itself just keep know language later least less letter letters like line list
long look lowercase make making many markdown marker might mine more most much must name need needs never next
once only other others ought ours output over paragraph paragraphs part parts phrase placeholder placeholders
please point points postscript prompt quotation question quickly really repeat reply request response responses
same section sections sentence sentences separate should show since some someone something start start
still such suggest tell text than that their theirs them then there these they thing things think this those three
through time title together toward twice under until upon used uses using very want wants well were what when
where whether which while whole whom whose will with within without word words would wrap write wrapped written
your yours yourself
"""
NOT_KEYWORDS = frozenset(_IN_EVERY_REQUEST.split())

_NOUNS = (
    "beginning balance change corner detail effort example evening friend habit journey lesson light memory moment "
    "morning neighbour pattern patience place purpose reason season secret story surprise weather window"
)
KEYWORDS = _NOUNS.split()

_FILLERS = (
    "absolutely actually amazing awesome basically certainly definitely delve essential exciting fantastic "
    "finally furthermore however important incredible indeed literally moreover nevertheless obviously perfect "
    "perhaps probably quite simply suddenly therefore truly ultimately unique utterly wonderful"
)
AVOIDABLE = _FILLERS.split()

CLOSINGS = (
    "And that is all there is to it.",
    "Tell me what you would change.",
    "That is everything you need for today.",
    "What would you do next?",
    "Thank you for reading to the end.",
    "Take it one step at a time.",
    "The rest is up to you.",
    "I hope this gives you a good start.",
    "Now it is your turn.",
    "Keep this note somewhere safe.",
    "Everything else can wait until tomorrow.",
    "Nobody could ask for more than that.",
)
