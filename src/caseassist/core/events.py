"""What can happen in a session: typed events, the ticket, and the context.

The classes bear the documented action names in CamelCase and are tagged with the documented names, so that a reader
with Coveo's page open finds everything by name:

* 3437, "Log case assist events": all classes but the two offers, ClickEvent and CustomEvent;
* 2064, "Log click events": ClickEvent;
* 2650, "Log custom events": CustomEvent.

Values are frozen. Constructing one checks nothing; the session checks what it is given before it records it.
"""

from typing import ClassVar

import msgspec

from caseassist.core import fields

__all__ = [
    "AnyEvent",
    "Classification",
    "ClassificationsOffered",
    "ClickEvent",
    "Context",
    "CustomEvent",
    "Document",
    "DocumentSuggestionClick",
    "DocumentSuggestionQuickview",
    "DocumentsOffered",
    "Event",
    "OfferedClassification",
    "OfferedDocument",
    "RatedDocument",
    "SuggestionClick",
    "SuggestionRate",
    "Ticket",
    "TicketCancel",
    "TicketClassificationClick",
    "TicketCreate",
    "TicketCreateStart",
    "TicketFieldUpdate",
    "TicketNextStage",
    "TurnTaken",
    "UnknownEvent",
    "WebEvent",
]


class _Value(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """What all our values have in common: frozen, keyword-only, camelCase in JSON, absent members left out."""


class _Personal(_Value, frozen=True, kw_only=True):
    """A value that may hold personal data: its representation names the members that are set, not what they hold."""

    def __repr__(self) -> str:
        members = (name for name in self.__struct_fields__ if getattr(self, name) is not None)
        return f"{type(self).__name__}({', '.join(f'{name}=…' for name in members)})"


class Ticket(_Personal, frozen=True, kw_only=True):
    """The support case as known so far (3437, "Ticket payload reference"). Treat ``custom`` as read-only."""

    rules: ClassVar[str] = "TK"

    id: fields.TicketId | None = None
    """Id of the created ticket: only a ``create`` sets it."""
    subject: fields.Subject | None = None
    description: fields.Description | None = None
    category: fields.Category | None = None
    product_id: fields.Text | None = None
    """Not in the documents; sent by Coveo's library when given."""
    custom: fields.TicketCustom | None = None
    """Parameters of your choice: any JSON values, names with their capitals."""


class Context(_Personal, frozen=True, kw_only=True):
    """What is constant for a session. Only ``search_hub`` and ``language`` are needed for a full log.

    ``origin_context`` and ``origin_level2`` are filled in when a session starts; give ``""`` to send nothing.
    """

    rules: ClassVar[str] = "CL"

    client_id: fields.ClientId | None = None
    """The person or browser, a UUID in lower case; a new one is made when a session starts without."""
    search_hub: fields.SearchHub | None = None
    """Name of the interface; ``searchHub`` and ``originLevel1`` on the wire. Document clicks need it."""
    language: fields.Language | None = None
    """ISO 639-1 code. Document clicks, click and custom events need it."""
    origin_context: fields.OriginContext | None = None
    """The deployment; ``CaseAssist`` unless set."""
    origin_level2: fields.OriginLevel2 | None = None
    """The tab; ``default`` unless set."""
    origin_level3: fields.OriginLevel3 | None = None
    """The referring URL (``document.referrer``)."""
    user_agent: fields.UserAgent | None = None
    """The person's browser or chat client; a product token of ours is sent when there is none."""
    anonymous: fields.Anonymous = False
    """The person wants to stay anonymous: no name may be given then (CL-036)."""
    username: fields.Username | None = None
    """Sent only with an API key or OAuth token; with a search token the service takes it from there (CL-053)."""
    user_display_name: fields.UserDisplayName | None = None
    tracking_id: fields.TrackingId | None = None
    location: fields.Text | None = None
    """URL of the page, where there is one."""
    referrer: fields.Text | None = None
    """URL of the page before it."""
    title: fields.Text | None = None
    """Title of the page."""
    screen_resolution: fields.Text | None = None
    """Such as ``1920x1080``."""
    screen_color: fields.Text | None = None
    """Such as ``24-bit``."""


class Classification(_Value, frozen=True, kw_only=True):
    """A proposed value for a field and how sure the model is of it."""

    value: fields.FieldValue
    confidence: fields.Confidence


class Document(_Value, frozen=True, kw_only=True):
    """A suggested document, as the events describe it."""

    document_title: fields.DocumentTitle
    document_url: fields.DocumentUrl
    document_position: fields.DocumentPosition
    """Counted from 1 in the response."""
    source_name: fields.SourceName
    document_uri_hash: fields.DocumentUriHash | None = None
    """Deprecated; sent only where the documents still ask for it (ratings)."""


class RatedDocument(_Value, frozen=True, kw_only=True):
    """A rated document: the documented members only."""

    document_title: fields.DocumentTitle
    document_url: fields.DocumentUrl
    document_position: fields.DocumentPosition
    document_uri_hash: fields.DocumentUriHash | None = None
    from_quickview: bool | None = None
    """Only in the deprecated SuggestionClick."""


class OfferedClassification(_Value, frozen=True, kw_only=True):
    """One proposal in an offer of classifications."""

    classification_id: fields.ClassificationId
    field_name: fields.FieldName
    classification: Classification


class OfferedDocument(_Value, frozen=True, kw_only=True):
    """One proposal in an offer of documents."""

    suggestion_id: fields.SuggestionId
    """The document's ``permanentid``."""
    suggestion: Document
    excerpt: fields.Excerpt | None = None
    """What of it to show; never sent."""
    click_uri: fields.ClickUri | None = None
    """Where a person opens it, if that is not its ``document_url``; never sent."""


class Event(_Value, frozen=True, kw_only=True, tag_field="action"):
    """The root of all events."""

    rules: ClassVar[str] = ""
    """What the ids of the rules that speak of this event begin with."""


class TicketCreateStart(Event, frozen=True, kw_only=True, tag="ticket_create_start"):
    """The person entered the interface. Sent as collect, ``ea=flowStart``."""


class TicketFieldUpdate(Event, frozen=True, kw_only=True, tag="ticket_field_update"):
    """The person filled or cleared a field; the ticket holds the new value. Sent as collect."""

    rules: ClassVar[str] = "CA"

    field_name: fields.FieldName


class ClassificationsOffered(Event, frozen=True, kw_only=True, tag="classifications_offered"):
    """Field values were proposed. A fact of ours: never sent to Coveo."""

    rules: ClassVar[str] = "CA-06"

    response_id: fields.ResponseId
    classifications: tuple[OfferedClassification, ...] = ()
    """In the order of the response; empty when there was nothing to propose."""


class DocumentsOffered(Event, frozen=True, kw_only=True, tag="documents_offered"):
    """Documents were suggested. A fact of ours: never sent to Coveo."""

    rules: ClassVar[str] = "CD"

    response_id: fields.ResponseId
    documents: tuple[OfferedDocument, ...] = ()
    """In the order of the response; empty when there was nothing to suggest."""


class TurnTaken(Event, frozen=True, kw_only=True, tag="turn_taken"):
    """A conversation has heard a message, or an answer that it was waiting for. A fact of ours: never sent to Coveo."""

    message_id: fields.MessageId | None = None
    """No message has a second turn in a session."""
    memory: fields.Memory | None = None
    """In the conversation's own words: any JSON object. Holds nothing personal."""


class TicketClassificationClick(Event, frozen=True, kw_only=True, tag="ticket_classification_click"):
    """A proposed value was taken, by the person or automatically; the ticket holds it. Sent as collect."""

    rules: ClassVar[str] = "CA-06"

    classification_id: fields.ClassificationId
    response_id: fields.ResponseId
    field_name: fields.FieldName
    classification: Classification
    auto_selection: fields.AutoSelection


class DocumentSuggestionClick(Event, frozen=True, kw_only=True, tag="documentSuggestionClick"):
    """The person opened a suggested document. Sent as click, without the ticket."""

    rules: ClassVar[str] = "CD"

    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId
    suggestion: Document


class DocumentSuggestionQuickview(Event, frozen=True, kw_only=True, tag="documentSuggestionQuickview"):
    """The person looked at a suggested document in the quick view. Sent as click, without the ticket."""

    rules: ClassVar[str] = "CQ"

    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId
    suggestion: Document


class SuggestionRate(Event, frozen=True, kw_only=True, tag="suggestion_rate"):
    """The person rated a suggested document. Sent as collect."""

    rules: ClassVar[str] = "CA"

    rate: fields.Rate
    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId
    suggestion: RatedDocument


class SuggestionClick(Event, frozen=True, kw_only=True, tag="suggestion_click"):
    """Deprecated since coveo.analytics 2.30.45: read from old traffic, never recorded by an action, never sent."""

    rules: ClassVar[str] = "CS"

    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId
    suggestion: RatedDocument


class TicketNextStage(Event, frozen=True, kw_only=True, tag="ticket_next_stage"):
    """The person went on to the next stage. Sent as collect."""

    rules: ClassVar[str] = "CN"

    stage: fields.Stage | None = None
    """Name of the stage. Not in the documents; sent by Coveo's library when given."""


class TicketCreate(Event, frozen=True, kw_only=True, tag="ticket_create"):
    """The ticket was created; ``ticket.id`` holds its id. Sent as collect. Ends the session."""

    rules: ClassVar[str] = "CC"


class TicketCancel(Event, frozen=True, kw_only=True, tag="ticket_cancel"):
    """The person solved the case or left. Sent as collect. Ends the session."""

    rules: ClassVar[str] = "CX"

    reason: fields.Reason
    cause: fields.Cause | None = None
    """How the person left: ours, not sent. None when solved."""


class WebEvent(Event, _Personal, frozen=True, kw_only=True):
    """What articles 2064 and 2650 have in common. What is None is taken from the context where it knows it."""

    client_id: fields.EventClientId | None = None
    """The session's, if it is given at all (CA-014)."""
    language: fields.Language | None = None
    origin_context: fields.OriginContext | None = None
    origin_level1: fields.OriginLevel1 | None = None
    origin_level2: fields.OriginLevel2 | None = None
    origin_level3: fields.OriginLevel3 | None = None
    user_agent: fields.UserAgent | None = None
    anonymous: fields.Anonymous | None = None
    username: fields.Username | None = None
    user_display_name: fields.UserDisplayName | None = None
    tracking_id: fields.TrackingId | None = None
    outcome: fields.Outcome | None = None
    split_test_run_name: fields.SplitTestRunName | None = None
    """The name and the version of an A/B test come together."""
    split_test_run_version: fields.SplitTestRunVersion | None = None
    custom_data: fields.CustomData | None = None
    """Keys: letters, digits, underscores and spaces. A click should have contentIDKey and contentIDValue (CL-D11)."""


class ClickEvent(WebEvent, frozen=True, kw_only=True, tag="click"):
    """Any other click: all properties of article 2064. Sent as click.

    Members that are None are taken from the session's context where it knows them.
    """

    rules: ClassVar[str] = "CL"

    action_cause: fields.ActionCause
    search_query_uid: fields.SearchQueryUid
    source_name: fields.SourceName
    document_position: fields.DocumentPosition = 1
    """Counted from 1; 1 when it is not known (CL-005)."""
    document_title: fields.DocumentTitle | None = None
    document_url: fields.DocumentUrl | None = None
    document_author: fields.DocumentAuthor | None = None
    document_uri: fields.DocumentUri | None = None
    """Deprecated, without effect."""
    document_uri_hash: fields.DocumentUriHash | None = None
    """Deprecated: clicks with it instead of ``contentIDKey`` count for nothing (CL-D13)."""
    document_category: fields.Text | None = None
    """Not in the documents; passed on by Coveo's library."""
    collection_name: fields.Text | None = None
    """Not in the documents; passed on by Coveo's library."""
    ranking_modifier: fields.RankingModifier | None = None
    query_pipeline: fields.QueryPipeline | None = None
    """Needed while an A/B test runs (CL-046)."""


class CustomEvent(WebEvent, frozen=True, kw_only=True, tag="custom"):
    """Any other interaction: all properties of article 2650. Sent as custom.

    Members that are None are taken from the session's context where it knows them.
    """

    rules: ClassVar[str] = "CU"

    event_type: fields.EventType
    event_value: fields.EventValue
    last_search_query_uid: fields.SearchQueryUid | None = None


class UnknownEvent(Event, frozen=True, kw_only=True, tag="unknown"):
    """An event that this version does not know. Its record is kept and passed on, never interpreted."""

    name: str = ""
    """The action as it was written."""


AnyEvent = (
    TicketCreateStart
    | TicketFieldUpdate
    | ClassificationsOffered
    | DocumentsOffered
    | TicketClassificationClick
    | DocumentSuggestionClick
    | DocumentSuggestionQuickview
    | SuggestionRate
    | SuggestionClick
    | TicketNextStage
    | TurnTaken
    | TicketCreate
    | TicketCancel
    | ClickEvent
    | CustomEvent
    | UnknownEvent
)
