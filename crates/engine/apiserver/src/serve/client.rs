//! Clients in the same process: a tower service, with a fixed identity and no socket.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;

use super::{Peer, handle};
use crate::{authn::User, response::Answer, server::Server};

/// Answers requests as if they came from one user.
#[derive(Clone)]
pub struct ClientService {
    server: Server,
    peer: Peer,
}

impl Server {
    /// A service for in-process clients, all of whose requests are `user`'s.
    pub fn client_service(&self, user: User) -> ClientService {
        ClientService { server: self.clone(), peer: Peer { user: Some(Arc::new(user)), address: None } }
    }

    /// A service for clients who have to say who they are, as those on the network do.
    pub fn anonymous_service(&self) -> ClientService {
        ClientService { server: self.clone(), peer: Peer::default() }
    }
}

impl<B> tower::Service<Request<B>> for ClientService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Self { server, peer } = self.clone();
        Box::pin(async move { Ok(handle(&server, &peer, request).await) })
    }
}
