//! The network as pods see it: real namespaces, cables, rules and sockets. Needs root; nothing leaves the namespaces.

mod support;

mod names;
mod outside;
mod pods;
mod services;
