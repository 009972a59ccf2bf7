"""What a conversation says, in English, French and German. Write your own with ``Texts``, or change these with
``msgspec.structs.replace``.
"""

from collections.abc import Mapping
from string import Formatter

import msgspec

__all__ = ["ENGLISH", "FRENCH", "GERMAN", "LANGUAGES", "PLACES", "Texts"]

PLACES = {
    "ask": {"field"},
    "change": {"field"},
    "created": {"ticket_id"},
    "did_it_help": {"title"},
    "open": {"title"},
    "review": {"ticket"},
    "auto_selected": {"field", "value"},
    "ask_again": {"field"},
    "say_again": {"field"},
}
"""What may stand in braces, by text."""


class Texts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said in one language. What stands in braces is filled in; other texts hold no braces.

    Raises ValueError for braces that cannot be filled in.
    """

    # Questions
    greeting: str
    describe: str
    """Once there is a description."""
    ask: str
    """``{field}``: the label of the field."""
    documents: str
    did_it_help: str
    """``{title}``: of the document."""
    review: str
    """``{ticket}``: what is known, a line for each field."""
    one_moment: str
    """While a service is asked."""
    # Ends
    solved: str
    created: str
    """``{ticket_id}``: in the helpdesk."""
    left: str
    expired: str
    """Somebody else, or a time limit, has closed the case."""
    # Labels of choices
    skip: str
    keep: str
    """What is to be changed stays as it is."""
    leave: str
    open: str
    """``{title}``: of the document."""
    helped: str
    none_helped: str
    yes: str
    no: str
    back: str
    file: str
    change: str
    """``{field}``: the label of the field."""
    new_case: str
    # Notices: said before the question
    not_understood: str
    too_long: str
    """What was written cannot be taken: too long, or no text."""
    describe_again: str
    """Nothing was said of a problem."""
    say_again: str
    """``{field}``: the label of the field, for which values are proposed, but any will do."""
    ask_again: str
    """``{field}``: the label of the field, which has values to choose from."""
    auto_selected: str
    """``{field}`` and ``{value}``."""
    no_suggestions: str
    no_documents: str
    not_filed: str
    not_known: str
    """The ticket may have been filed, or not."""
    gone: str
    """The choice was on offer before."""
    trouble: str
    """Something failed that the person cannot do anything about."""
    # Words
    fields: Mapping[str, str] = {}
    """Labels of fields, by name; a field without one is called by its name."""
    words: Mapping[str, tuple[str, ...]] = {}
    """What people type for a choice, by its id up to the colon. Capitals, accents and punctuation around make no
    difference. ``solved``: also while a field is asked for, a document rated, or the ticket reviewed."""
    greetings: tuple[str, ...] = ()
    """What says hello and nothing of a problem. It is known in all languages of the dialogue."""

    def __repr__(self) -> str:
        return f"<Texts {self.greeting!r} …>"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            text = getattr(self, name)
            if isinstance(text, str):
                _check(name, text)

    def label(self, field: str) -> str:
        """What a field is called."""
        return self.fields.get(field, field)


def _check(name: str, text: str) -> None:
    allowed = PLACES.get(name, set())
    try:
        found = {place for _, place, _, _ in Formatter().parse(text) if place is not None}
        text.format(**dict.fromkeys(allowed, ""))
    except (ValueError, KeyError, IndexError, AttributeError):
        found = {""}
    if not found <= allowed:
        braces = ", ".join(f"{{{place}}}" for place in sorted(allowed)) or "none"
        raise ValueError(f"the text {name!r} may hold these places to fill in: {braces}")


# What people say who want a ticket or a person, whatever they are asked.
_SOMEBODY_ENGLISH = (
    "human", "agent", "i need a human", "talk to a human", "i want to talk to a human", "i want to talk to a person",
    "ticket", "create a ticket", "open a ticket", "file a ticket", "contact support",
)  # fmt: skip
_SOMEBODY_FRENCH = (
    "un humain", "un conseiller", "je veux parler à un humain", "je veux parler à quelqu'un", "ticket",
    "créer un ticket", "ouvrir un ticket",
)  # fmt: skip
_SOMEBODY_GERMAN = (
    "ein mensch", "mitarbeiter", "ich will mit einem menschen sprechen", "ich möchte mit jemandem sprechen", "ticket",
    "ticket erstellen", "ticket anlegen",
)  # fmt: skip

ENGLISH = Texts(
    greeting="Hello! What is the problem? A sentence or two will do.",
    describe="What is the problem? What you write replaces the description.",
    ask="What is the {field}?",
    documents="These documents may help. Open one, or tell me that none of them does.",
    did_it_help="Did “{title}” solve it?",
    review="This is your ticket:\n\n{ticket}\n\nShall I file it, or is there something to change?",
    one_moment="One moment, please.",
    solved="Good! This case is closed.",
    created="Your ticket is filed: {ticket_id}. Somebody will take care of it.",
    left="All right, this case is closed.",
    expired="This case was closed in the meantime.",
    skip="Skip this",
    keep="Keep it as it is",
    leave="Leave",
    open="Open “{title}”",
    helped="That solved it",
    none_helped="None of these helps",
    yes="Yes",
    no="No",
    back="Back to the list",
    file="File the ticket",
    change="Change the {field}",
    new_case="Start a new case",
    not_understood="Sorry, I did not understand that.",
    too_long="Sorry, I cannot take that. Could you put it in fewer words?",
    describe_again="Please tell me in a sentence what does not work.",
    say_again="Choose one of these, or write in your own words what the {field} is.",
    ask_again="Please choose one of the values for the {field}.",
    auto_selected="I have set the {field} to “{value}”.",
    no_suggestions="I cannot reach the suggestions at the moment, so we go on without them.",
    no_documents="I found no document about this.",
    not_filed="The ticket could not be filed. Nothing is lost: please try again.",
    not_known="I do not know yet whether the ticket was filed. Please try again: it will not be filed twice.",
    gone="That is no longer on offer.",
    trouble="Sorry, something went wrong here. Please send that again in a moment.",
    fields={"description": "description", "category": "category", "productId": "product", "subject": "subject"},
    words={
        "yes": (
            "yes",
            "y",
            "yeah",
            "yep",
            "sure",
            "ok",
            "it did",
            "solved",
            "fixed",
            "it works",
            "that helped",
            "that worked",
        ),
        "no": ("no", "n", "nope", "not really", "it did not", "it didn't", "still broken", "still not working"),
        "solved": (
            "solved",
            "it works",
            "it works now",
            "works",
            "that helped",
            "that worked",
            "fixed",
            "problem solved",
        ),
        "none": (
            "none",
            "none of them",
            "none of these",
            "no",
            "no thanks",
            "nope",
            "nothing",
            "next",
            "not helpful",
            "nothing helped",
            "didn't work",
            *_SOMEBODY_ENGLISH,
        ),
        "leave": ("leave", "quit", "exit", "cancel", "stop", "bye", "goodbye"),
        "skip": (
            "skip",
            "none",
            "none of these",
            "none of them",
            "no",
            "other",
            "don't know",
            "i don't know",
            "not sure",
            "no idea",
            *_SOMEBODY_ENGLISH,
        ),
        "file": (
            "yes",
            "y",
            "yeah",
            "yep",
            "sure",
            "ok",
            "file",
            "file it",
            "create",
            "submit",
            "submit it",
            "send",
            "go ahead",
            "do it",
            "looks good",
            "no changes",
            "please",
        ),
        "back": ("back",),
        "new": ("new", "start", "yes", "again"),
    },
    greetings=(
        "hi",
        "hello",
        "hey",
        "hi there",
        "hello there",
        "good morning",
        "good afternoon",
        "good evening",
        "help",
    ),
)

FRENCH = Texts(
    greeting="Bonjour ! Quel est le problème ? Une phrase ou deux suffisent.",
    describe="Quel est le problème ? Votre texte remplacera la description.",
    ask="Quelle valeur pour le champ « {field} » ?",
    documents="Ces documents peuvent vous aider. Ouvrez-en un, ou dites-moi qu'aucun ne convient.",
    did_it_help="Est-ce que « {title} » a résolu le problème ?",
    review="Voici votre ticket :\n\n{ticket}\n\nFaut-il le créer, ou y a-t-il quelque chose à modifier ?",
    one_moment="Un instant, s'il vous plaît.",
    solved="Parfait ! Ce dossier est clos.",
    created="Votre ticket est créé : {ticket_id}. Quelqu'un va s'en occuper.",
    left="D'accord, ce dossier est clos.",
    expired="Ce dossier a été clos entre-temps.",
    skip="Passer",
    keep="Ne rien changer",
    leave="Quitter",
    open="Ouvrir « {title} »",
    helped="C'est résolu",
    none_helped="Aucun ne convient",
    yes="Oui",
    no="Non",
    back="Retour à la liste",
    file="Créer le ticket",
    change="Modifier le champ « {field} »",
    new_case="Ouvrir un nouveau dossier",
    not_understood="Désolé, je n'ai pas compris.",
    too_long="Désolé, je ne peux pas accepter cela. Pouvez-vous l'écrire en moins de mots ?",
    describe_again="Dites-moi en une phrase ce qui ne fonctionne pas.",
    say_again="Choisissez une de ces valeurs, ou écrivez encore une fois la vôtre pour « {field} ».",
    ask_again="Choisissez une des valeurs pour le champ « {field} ».",
    auto_selected="J'ai choisi « {value} » pour le champ « {field} ».",
    no_suggestions="Les suggestions ne sont pas disponibles pour le moment, continuons sans elles.",
    no_documents="Je n'ai trouvé aucun document à ce sujet.",
    not_filed="Le ticket n'a pas pu être créé. Rien n'est perdu : réessayez.",
    not_known="Je ne sais pas encore si le ticket a été créé. Réessayez : il ne sera pas créé deux fois.",
    gone="Ce choix n'est plus proposé.",
    trouble="Désolé, une erreur s'est produite ici. Renvoyez votre message dans un moment.",
    fields={"description": "description", "category": "catégorie", "productId": "produit", "subject": "sujet"},
    words={
        "yes": ("oui", "o", "ouais", "ok", "d'accord", "résolu", "ça marche", "ça fonctionne"),
        "no": ("non", "n", "pas vraiment", "toujours pas", "ça ne marche pas"),
        "solved": ("résolu", "ça marche", "ça fonctionne", "réglé"),
        "none": ("aucun", "aucun d'eux", "non", "non merci", "rien", "suivant", *_SOMEBODY_FRENCH),
        "leave": ("quitter", "annuler", "stop", "au revoir", "arrêter", "partir"),
        "skip": (
            "passer",
            "aucun",
            "aucune",
            "non",
            "autre",
            "je ne sais pas",
            "sais pas",
            "aucune idée",
            *_SOMEBODY_FRENCH,
        ),
        "file": ("oui", "o", "ok", "créer", "envoyer", "d'accord", "vas-y", "allez-y", "c'est bon"),
        "back": ("retour",),
        "new": ("nouveau", "oui", "encore"),
    },
    greetings=("bonjour", "bonsoir", "salut", "coucou", "allô", "aide"),
)

GERMAN = Texts(
    greeting="Guten Tag! Was ist das Problem? Ein oder zwei Sätze genügen.",
    describe="Was ist das Problem? Ihr Text ersetzt die Beschreibung.",
    ask="Was soll ich bei „{field}“ eintragen?",
    documents="Diese Dokumente könnten helfen. Öffnen Sie eines davon, oder sagen Sie mir, dass keines passt.",
    did_it_help="Hat „{title}“ das Problem gelöst?",
    review="Das ist Ihr Ticket:\n\n{ticket}\n\nSoll ich es anlegen, oder möchten Sie etwas ändern?",
    one_moment="Einen Augenblick, bitte.",
    solved="Sehr gut! Dieser Fall ist abgeschlossen.",
    created="Ihr Ticket ist angelegt: {ticket_id}. Es kümmert sich jemand darum.",
    left="In Ordnung, dieser Fall ist geschlossen.",
    expired="Dieser Fall wurde inzwischen geschlossen.",
    skip="Überspringen",
    keep="So lassen",
    leave="Beenden",
    open="„{title}“ öffnen",
    helped="Das hat geholfen",
    none_helped="Keines davon passt",
    yes="Ja",
    no="Nein",
    back="Zurück zur Liste",
    file="Ticket anlegen",
    change="„{field}“ ändern",
    new_case="Neuen Fall beginnen",
    not_understood="Das habe ich leider nicht verstanden.",
    too_long="Das kann ich leider nicht annehmen. Bitte fassen Sie sich kürzer.",
    describe_again="Bitte sagen Sie in einem Satz, was nicht funktioniert.",
    say_again="Wählen Sie etwas davon aus, oder schreiben Sie bei „{field}“ Ihren Wert noch einmal.",
    ask_again="Bitte wählen Sie bei „{field}“ einen der Werte aus.",
    auto_selected="Ich habe bei „{field}“ „{value}“ eingetragen.",
    no_suggestions="Ich kann gerade keine Vorschläge abrufen, wir machen ohne sie weiter.",
    no_documents="Dazu habe ich kein Dokument gefunden.",
    not_filed="Das Ticket konnte nicht angelegt werden. Es ist nichts verloren: Bitte versuchen Sie es noch einmal.",
    not_known="Ich weiß noch nicht, ob das Ticket angelegt wurde. Bitte versuchen Sie es noch einmal: "
    "Es wird nicht doppelt angelegt.",
    gone="Das steht nicht mehr zur Wahl.",
    trouble="Hier ist leider etwas schiefgegangen. Bitte senden Sie das in einem Augenblick noch einmal.",
    fields={"description": "Beschreibung", "category": "Kategorie", "productId": "Produkt", "subject": "Betreff"},
    words={
        "yes": ("ja", "j", "jo", "ok", "klar", "gelöst", "geht wieder", "hat geholfen"),
        "no": ("nein", "n", "nee", "nicht wirklich", "leider nicht", "immer noch nicht", "geht nicht"),
        "solved": ("gelöst", "geloest", "geht wieder", "es geht wieder", "hat geholfen"),
        "none": (
            "nichts",
            "nichts davon",
            "nein",
            "nee",
            "keines",
            "keins",
            "keins davon",
            "weiter",
            "nein danke",
            *_SOMEBODY_GERMAN,
        ),
        "leave": ("beenden", "abbrechen", "stop", "stopp", "tschüss", "tschuess", "ende"),
        "skip": (
            "überspringen",
            "ueberspringen",
            "weiß nicht",
            "ich weiß nicht",
            "keines",
            "keins davon",
            "nein",
            "anderes",
            "keine ahnung",
            *_SOMEBODY_GERMAN,
        ),
        "file": ("ja", "j", "ok", "klar", "anlegen", "absenden", "einverstanden", "passt", "bitte", "los"),
        "back": ("zurück", "zurueck"),
        "new": ("neu", "ja", "nochmal", "noch einmal"),
    },
    greetings=("hallo", "hi", "guten tag", "guten morgen", "guten abend", "moin", "servus", "grüezi", "hilfe"),
)

LANGUAGES: Mapping[str, Texts] = {"en": ENGLISH, "fr": FRENCH, "de": GERMAN}
"""The texts that are there."""
