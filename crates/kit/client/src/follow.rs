//! List, then watch, for ever: what every cache of API objects is fed by.
//!
//! kube's own watcher does not say at which revision a list was taken; caches that take in the answers to their own
//! writes need to know, so the loop is ours.

use std::{fmt::Debug, future::Future, marker::PhantomData, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, Resource,
    api::{DynamicObject, ListParams, ObjectList, Request, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;

/// Objects a page of a list.
const PAGE_OBJECTS: u32 = 500;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// The server ends a watch after so long; one that it does not end is a connection that died unnoticed.
const WATCH_SECONDS: u32 = 290;

/// What a list and watch tells.
pub trait Sink<K>: Send {
    /// Everything there is, as of a revision.
    fn replace(&mut self, objects: Vec<K>, revision: u64);
    /// An object as it is now.
    fn apply(&mut self, object: K);
    /// An object's last state.
    fn delete(&mut self, object: K);
    /// Nothing else happened up to this revision.
    fn progress(&mut self, revision: u64);
}

/// What knows which version of its object it is.
pub trait Versioned {
    /// Its resourceVersion.
    fn version(&self) -> Option<&str>;
}

impl<K: Resource> Versioned for K {
    fn version(&self) -> Option<&str> {
        self.meta().resource_version.as_deref()
    }
}

/// Where objects come from.
pub trait Source: Send + Sync {
    /// What an object is seen as.
    type Object: Versioned + Clone + Send + Sync + 'static;
    /// One page.
    fn list(&self, parameters: &ListParams) -> impl Future<Output = kube::Result<ObjectList<Self::Object>>> + Send;
    /// Changes from a revision on.
    fn watch(
        &self,
        parameters: &WatchParams,
        revision: &str,
    ) -> impl Future<Output = kube::Result<BoxStream<'static, kube::Result<WatchEvent<Self::Object>>>>> + Send;
    /// What is followed, for messages.
    fn name(&self) -> String;
}

/// Whole objects.
pub struct Whole<K>(pub Api<K>);

impl<K> Source for Whole<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    type Object = K;

    async fn list(&self, parameters: &ListParams) -> kube::Result<ObjectList<K>> {
        self.0.list(parameters).await
    }

    async fn watch(
        &self,
        parameters: &WatchParams,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>> {
        Ok(self.0.watch(parameters, revision).await?.boxed())
    }

    fn name(&self) -> String {
        self.0.resource_url().to_owned()
    }
}

/// Whole objects of one name, in whatever namespace.
pub struct Named<K>(pub Api<K>, pub &'static str);

impl<K> Source for Named<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    type Object = K;

    async fn list(&self, parameters: &ListParams) -> kube::Result<ObjectList<K>> {
        self.0.list(&parameters.clone().fields(&format!("metadata.name={}", self.1))).await
    }

    async fn watch(
        &self,
        parameters: &WatchParams,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>> {
        let parameters = parameters.clone().fields(&format!("metadata.name={}", self.1));
        Ok(self.0.watch(&parameters, revision).await?.boxed())
    }

    fn name(&self) -> String {
        format!("{} {}", self.0.resource_url(), self.1)
    }
}

/// Only the metadata of objects, and of that only what `T` decodes.
pub struct Metadata<T> {
    api: Api<DynamicObject>,
    decoded: PhantomData<fn() -> T>,
}

impl<T> Metadata<T> {
    /// That of the objects `api` leads to.
    pub fn of(api: Api<DynamicObject>) -> Self {
        Self { api, decoded: PhantomData }
    }
}

impl<T> Source for Metadata<T>
where
    T: Versioned + Clone + DeserializeOwned + Send + Sync + 'static,
{
    type Object = T;

    async fn list(&self, parameters: &ListParams) -> kube::Result<ObjectList<T>> {
        let request = Request::new(self.api.resource_url()).list_metadata(parameters);
        self.api.clone().into_client().request(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn watch(
        &self,
        parameters: &WatchParams,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<T>>>> {
        let request = Request::new(self.api.resource_url()).watch_metadata(parameters, revision);
        let client = self.api.clone().into_client();
        Ok(client.request_events(request.map_err(kube::Error::BuildRequest)?).await?.boxed())
    }

    fn name(&self) -> String {
        self.api.resource_url().to_owned()
    }
}

/// Tells `sink` everything about the source's objects, until the future is dropped.
pub async fn follow<S: Source>(source: S, mut sink: impl Sink<S::Object>) {
    let mut wait = RETRY_FIRST;
    loop {
        match follow_once(&source, &mut sink, &mut wait).await {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(source = source.name(), %error, "list and watch starts over");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_LAST);
            }
        }
    }
}

/// Lists and watches until the server has forgotten where the watch was.
async fn follow_once<S: Source>(source: &S, sink: &mut impl Sink<S::Object>, wait: &mut Duration) -> kube::Result<()> {
    let (objects, mut revision) = list(source).await?;
    sink.replace(objects, revision.parse().unwrap_or(0));
    *wait = RETRY_FIRST;
    loop {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let mut events = source.watch(&parameters, &revision).await?;
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    note_revision(&object, &mut revision);
                    sink.apply(object);
                }
                WatchEvent::Deleted(object) => {
                    note_revision(&object, &mut revision);
                    sink.delete(object);
                }
                WatchEvent::Bookmark(bookmark) => {
                    revision = bookmark.metadata.resource_version;
                    sink.progress(revision.parse().unwrap_or(0));
                }
                // Too old a revision: list again at once.
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
    }
}

async fn list<S: Source>(source: &S) -> kube::Result<(Vec<S::Object>, String)> {
    let mut parameters = ListParams::default().limit(PAGE_OBJECTS);
    let mut objects = Vec::new();
    loop {
        let page = source.list(&parameters).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

fn note_revision(object: &impl Versioned, revision: &mut String) {
    if let Some(newer) = object.version() {
        newer.clone_into(revision);
    }
}

/// An object's resourceVersion as a number. They are comparable within a resource.
pub fn revision_of<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|revision| revision.parse().ok()).unwrap_or(0)
}
