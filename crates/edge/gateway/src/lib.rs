//! The L7 edge: requests from outside go by host and path straight to ready pods.
//!
//! ```text
//! Gateway::start(client, dialer, options)   follows Ingresses, Services, EndpointSlices, TLS secrets
//! gateway.ready()                           the first whole table is in use
//! gateway.serve_http(listener)              until stopped; any number of listeners
//! gateway.serve_https(listener)             certificates by server name from secrets, else the fallback
//! gateway.routes()                          what is served, with counters
//! gateway.stop()                            open requests end first, within a limit
//! ```
//!
//! A request meets, in this order: `server` (connection) -> `proxy` (route, retries, answer) -> `upstream` (which pod,
//! over which connection). The table it is routed by is made by `follow` from what the API says, and is replaced whole.

mod body;
mod counters;
mod follow;
mod gateway;
mod headers;
mod options;
mod page;
mod proxy;
mod retry;
mod routes;
mod server;
mod status;
mod tls;
mod upgrade;
mod upstream;

pub use counters::RouteStats;
pub use gateway::Gateway;
pub use options::{Dialer, Options};
