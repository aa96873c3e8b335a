//! Charts against what the real tools made of them.

mod errors;
mod golden;
mod hostile;
mod loaded;

use std::rc::Rc;

use coracle_gotemplate::Dict;
use coracle_helm::{Capabilities, File, Flavour, Release, Request};

fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), data: text.as_bytes().into() }
}

fn request(values: Rc<Dict>, flavour: Flavour) -> Request {
    Request {
        release: Release { name: "r".to_owned(), namespace: "n".to_owned(), is_upgrade: false, revision: 1 },
        values,
        capabilities: Capabilities::default_of(flavour),
        flavour,
        skip_schema: false,
    }
}
