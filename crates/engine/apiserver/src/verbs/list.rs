//! GET of a collection: stored bytes joined, from a snapshot, page by page where asked.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use coracle_schema::protobuf::ListWriter;
use coracle_store::{Record, RevisionError, Snapshot};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, all_served_bytes, all_served_values};
use crate::{
    object::{self, key_name, key_namespace},
    registry::Resource,
    request::{
        accept::{Format, PROTOBUF, Shape},
        query::{ListOptions, VersionMatch},
        selector::{FieldSelector, LabelSelector},
    },
    response::{self, Answer, BoxError},
    server::Server,
    show,
    status::{Cause, Failure},
};

/// What a list or watch selects.
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The only name there can be, where the path or the field selector says so.
    name: Option<String>,
    /// The version whose objects have to be looked into: fields of custom resources may be others in each version.
    by_content: Option<Arc<Resource>>,
}

impl Selection {
    /// Reads the selectors of a request.
    pub fn parse(call: &Call<'_>, options: &ListOptions) -> Result<Self, Failure> {
        let labels = LabelSelector::parse(&options.label_selector)?;
        let fields = FieldSelector::parse(&options.field_selector)?;
        fields.check(|path| call.resource.is_selectable(path))?;
        let in_path = Some(call.request.info.name.clone()).filter(|name| !name.is_empty());
        let name = in_path.or_else(|| fields.required("metadata.name").map(str::to_owned));
        let looks_inside = call.resource.is_custom() && fields.names(|path| !path.starts_with("metadata."));
        let by_content = looks_inside.then(|| Arc::clone(call.resource));
        Ok(Self { labels, fields, name, by_content })
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    /// Whether it selects an object.
    pub async fn selects(&self, record: &Arc<Record>) -> Result<bool, Failure> {
        if self.by_content.is_none() {
            return Ok(self.may_match(record));
        }
        Ok(self.may_match(record) && !self.confirmed(vec![Arc::clone(record)]).await?.is_empty())
    }

    /// Those that it selects among objects that may match.
    pub async fn confirmed(&self, records: Vec<Arc<Record>>) -> Result<Vec<Arc<Record>>, Failure> {
        let Some(resource) = &self.by_content else { return Ok(records) };
        let objects = all_served_values(resource, &records).await?;
        let selected = |(record, object): (Arc<Record>, &Value)| {
            let fields = object::meta(object, &resource.selectable).fields;
            let field = |path: &str| fields.iter().find(|(known, _)| known.as_str() == path);
            self.fields_match(&record, |path| field(path).map(|(_, value)| value.as_str())).then_some(record)
        };
        Ok(records.into_iter().zip(&objects).filter_map(selected).collect())
    }

    /// Whether an object is selected, as far as can be told without looking into it.
    pub fn may_match(&self, record: &Record) -> bool {
        if self.name.as_deref().is_some_and(|name| key_name(record.key()) != name) {
            return false;
        }
        if !self.labels.is_empty() && !self.labels.matches(|key| record.label(key)) {
            return false;
        }
        self.by_content.is_some() || self.fields.is_empty() || self.fields_match(record, |path| record.field(path))
    }

    /// Whether the field selector matches; `field` finds what is no part of the key.
    fn fields_match<'a>(&self, record: &'a Record, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.fields.matches(|path| match path {
            "metadata.name" => Some(key_name(record.key())),
            "metadata.namespace" => Some(key_namespace(record.key())),
            path => field(path),
        })
    }
}

/// Where a page ended.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    v: String,
    /// The revision of the list; 0 once it is lost, and the rest may be newer.
    rv: u64,
    start: String,
    /// When the first page was made, in seconds.
    #[serde(default)]
    at: i64,
}

/// How long a list may be read on page by page, as upstream's history reaches back.
const PAGES_LIFE_SECONDS: i64 = 5 * 60;

impl Continue {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("two strings and a number always encode"))
    }

    fn decode(text: &str) -> Result<Self, Failure> {
        let invalid = || Failure::bad_request("continue key is not valid: the token was not made by this server");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| invalid())?;
        serde_json::from_slice(&bytes).map_err(|_| invalid())
    }
}

const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// Waits a little until the store is at `revision`.
pub async fn wait_for_revision(server: &Server, revision: u64) -> Result<(), Failure> {
    if server.store.revision() >= revision {
        return Ok(());
    }
    if tokio::time::timeout(FUTURE_WAIT, server.store.wait_for(revision)).await.is_ok() {
        return Ok(());
    }
    Err(future_revision(revision, server.store.revision()))
}

fn future_revision(asked: u64, current: u64) -> Failure {
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    };
    let mut failure =
        Failure::plain(504, "Timeout", format!("Timeout: Too large resource version: {asked}, current: {current}"))
            .with_causes(vec![cause]);
    if let Some(details) = &mut failure.details {
        details.retry_after_seconds = 1;
    }
    failure
}

/// What upstream says of a revision that is forgotten.
pub fn too_old(asked: u64, oldest: u64) -> Failure {
    Failure::expired(format!("too old resource version: {asked} ({oldest})"))
}

/// The part of a collection that a request asks for.
pub struct Page {
    /// The objects.
    pub records: Vec<Arc<Record>>,
    /// The revision they are of.
    pub revision: u64,
    continue_token: Option<String>,
    remaining: Option<usize>,
}

/// Answers with the collection.
pub async fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let options = ListOptions::parse(&call.request.query, false)?;
    let selection = Selection::parse(call, &options)?;
    let page = select(call, &options, &selection).await?;
    answer(call, page).await
}

/// Finds what a request asks for.
pub async fn select(call: &Call<'_>, options: &ListOptions, selection: &Selection) -> Result<Page, Failure> {
    let scope = call.resource.scope(&call.request.info.namespace);
    let token = match options.continue_token.as_str() {
        "" => None,
        text => Some(Continue::decode(text)?),
    };
    let now = call.server.clock.now().as_second();
    let begun = token.as_ref().filter(|token| token.rv > 0).map_or(now, |token| token.at);
    let snapshot = match &token {
        Some(token) if token.rv > 0 && now.saturating_sub(begun) > PAGES_LIFE_SECONDS => return Err(lost(token)),
        Some(token) if token.rv > 0 => continued(call.server, &scope, token)?,
        Some(_) => call.server.store.snapshot(),
        None => at_version(call.server, &scope, options).await?,
    };
    let start = token.map(|token| format!("{scope}{}", token.start)).unwrap_or_default();
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let mut matching = snapshot.list_after(&scope, &start).filter(|record| selection.may_match(record)).cloned();
    let (records, more) = if selection.by_content.is_some() {
        let mut records = selection.confirmed(matching.collect()).await?;
        let more = records.len() > limit;
        records.truncate(limit);
        (records, more)
    } else {
        let records: Vec<_> = matching.by_ref().take(limit).collect();
        let more = records.len() == limit && matching.next().is_some();
        (records, more)
    };
    let mut page = Page { revision: snapshot.revision(), continue_token: None, remaining: None, records };
    if let (true, Some(last)) = (more, page.records.last()) {
        let start = last.key()[scope.len()..].to_owned();
        page.continue_token =
            Some(Continue { v: "meta.k8s.io/v1".into(), rv: page.revision, start, at: begun }.encode());
        if selection.is_everything() {
            page.remaining = Some(snapshot.list_after(&scope, last.key()).count());
        }
        call.server.store.pin(&snapshot);
    }
    Ok(page)
}

fn continued(server: &Server, scope: &str, token: &Continue) -> Result<Snapshot, Failure> {
    server.store.snapshot_at(scope, token.rv).map_err(|error| match error {
        RevisionError::Compacted(_) => lost(token),
        RevisionError::Future { asked, current } => future_revision(asked, current),
    })
}

/// A list whose moment is forgotten. The client may go on from here, with a list that is not of one moment.
fn lost(token: &Continue) -> Failure {
    let next = Continue { v: token.v.clone(), rv: 0, start: token.start.clone(), at: 0 }.encode();
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Failure { continue_token: Some(next), ..Failure::expired(text) }
}

async fn at_version(server: &Server, scope: &str, options: &ListOptions) -> Result<Snapshot, Failure> {
    let wanted = options.resource_version.unwrap_or(0);
    if options.version_match != VersionMatch::Exact {
        wait_for_revision(server, wanted).await?;
        return Ok(server.store.snapshot());
    }
    server.store.snapshot_at(scope, wanted).map_err(|error| match error {
        RevisionError::Compacted(compacted) => {
            Failure::expired(format!("The resourceVersion for the provided list is too old: {compacted}"))
        }
        RevisionError::Future { asked, current } => future_revision(asked, current),
    })
}

async fn answer(call: &Call<'_>, page: Page) -> Result<Answer, Failure> {
    let request = call.request;
    let metadata = list_metadata(&page);
    let joins = request.accept.format == Format::Json && !request.accept.pretty;
    if joins && request.accept.shape != Shape::Table {
        let mut parts = all_served_bytes(call.resource, &page.records).await?;
        let mut of = (call.resource.kind.list_kind.as_ref(), call.resource.api_version.as_str());
        if request.accept.shape == Shape::Partial {
            of = ("PartialObjectMetadataList", show::version(request));
            for part in &mut parts {
                *part = show::partial_json(request, part)?;
            }
        }
        let body = Joined::new(of, &metadata, parts);
        let length = body.remaining_bytes;
        let mut answer = response::with_body(
            StatusCode::OK,
            "application/json",
            body.map_err(|never| -> BoxError { match never {} }).boxed_unsync(),
        );
        answer.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        return Ok(answer);
    }
    if request.accept.format == Format::Protobuf {
        return protobuf_answer(call, &page, &metadata).await;
    }
    let items = all_served_values(call.resource, &page.records).await?;
    let now = call.server.clock.now();
    let value = match request.accept.shape {
        Shape::Whole => json!({
            "apiVersion": call.resource.api_version, "kind": call.resource.kind.list_kind,
            "metadata": metadata, "items": items,
        }),
        _ => show::many(call.resource, request, &items, metadata, now),
    };
    Ok(response::value(StatusCode::OK, request.accept, &value))
}

async fn protobuf_answer(call: &Call<'_>, page: &Page, metadata: &Value) -> Result<Answer, Failure> {
    let kind = &call.resource.kind;
    let is_whole = call.request.accept.shape == Shape::Whole;
    let of = is_whole.then(|| kind.schema.root());
    let mut list = ListWriter::new(metadata.to_string().as_bytes(), of).map_err(Failure::internal)?;
    for object in all_served_bytes(call.resource, &page.records).await? {
        list.push(&object).map_err(Failure::internal)?;
    }
    let bytes = match is_whole {
        true => list.finish(&call.resource.api_version, &kind.list_kind),
        false => list.finish(show::version(call.request), "PartialObjectMetadataList"),
    };
    Ok(response::answer(StatusCode::OK, PROTOBUF, bytes))
}

fn list_metadata(page: &Page) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(token) = &page.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

/// A list's body: shared bytes joined a piece at a time, so that a large list costs no memory of its size.
struct Joined {
    parts: std::vec::IntoIter<Bytes>,
    head: Option<Bytes>,
    any: bool,
    ended: bool,
    remaining_bytes: u64,
}

const PIECE_BYTES: usize = 64 * 1024;
const END: &[u8] = b"]}\n";

impl Joined {
    fn new((kind, api_version): (&str, &str), metadata: &Value, parts: Vec<Bytes>) -> Self {
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
            json!(kind),
            json!(api_version)
        );
        let items: usize = parts.iter().map(Bytes::len).sum();
        let total = head.len() + items + parts.len().saturating_sub(1) + END.len();
        Self {
            parts: parts.into_iter(),
            head: Some(head.into()),
            any: false,
            ended: false,
            remaining_bytes: total as u64,
        }
    }

    fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let room = usize::try_from(self.remaining_bytes).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = BytesMut::with_capacity(room);
        piece.extend_from_slice(&self.head.take().unwrap_or_default());
        loop {
            let Some(part) = self.parts.as_slice().first() else {
                piece.extend_from_slice(END);
                self.ended = true;
                break;
            };
            // What does not fit begins the next piece: one that grew would be copied once more.
            if !piece.is_empty() && piece.len() + 1 + part.len() > PIECE_BYTES {
                break;
            }
            if self.any {
                piece.put_u8(b',');
            }
            self.any = true;
            piece.extend_from_slice(part);
            self.parts.next();
        }
        self.remaining_bytes -= piece.len() as u64;
        Some(piece.freeze())
    }
}

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.get_mut().piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}
