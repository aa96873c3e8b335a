//! Templates are parsed once for each chart, however often it is rendered and with whatever values.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use coracle_gotemplate::{Functions, MissingKey, Set};

use super::{RenderError, error, functions};
use crate::{Flavour, chart::File};

/// What has been parsed for a chart and for the copies of it.
#[derive(Default)]
pub(crate) struct Parsed(RefCell<Cache>);

/// What a file holds: the same bytes are the same file.
type Content = Arc<[u8]>;

/// A file of one path, as one flavour of Helm reads it.
type Key = (Flavour, String);

#[derive(Default)]
struct Cache {
    /// With the content that was parsed.
    files: HashMap<Key, (Content, coracle_gotemplate::Parsed)>,
    /// The set of the last render; the next one most often has the same templates.
    last: Option<Last>,
    /// How many files have been parsed.
    count: usize,
}

struct Last {
    flavour: Flavour,
    /// Paths and contents.
    files: Vec<(String, Content)>,
    set: Arc<Set>,
}

impl Last {
    fn is_of(&self, files: &[(&str, &File)], flavour: Flavour) -> bool {
        let mut pairs = self.files.iter().zip(files);
        self.flavour == flavour
            && self.files.len() == files.len()
            && pairs.all(|((path, data), (wanted, file))| path == wanted && Arc::ptr_eq(data, &file.data))
    }
}

impl Parsed {
    /// The templates of `files`, which come with their paths in the order in which later ones replace earlier ones.
    pub fn set(&self, files: &[(&str, &File)], flavour: Flavour) -> Result<Arc<Set>, RenderError> {
        let mut cache = self.0.borrow_mut();
        if let Some(last) = cache.last.as_ref().filter(|last| last.is_of(files, flavour)) {
            return Ok(last.set.clone());
        }
        let mut set = Set::new("gotpl", functions(flavour).clone(), MissingKey::Zero);
        for (path, file) in files {
            set.add(&cache.file(path, file, flavour)?);
        }
        let set = Arc::new(set);
        let files = files.iter().map(|(path, file)| ((*path).to_owned(), file.data.clone())).collect();
        cache.last = Some(Last { flavour, files, set: set.clone() });
        Ok(set)
    }

    /// How many files have been parsed.
    pub fn count(&self) -> usize {
        self.0.borrow().count
    }
}

impl Cache {
    fn file(&mut self, path: &str, file: &File, flavour: Flavour) -> Result<coracle_gotemplate::Parsed, RenderError> {
        let key = (flavour, path.to_owned());
        if let Some((data, parsed)) = self.files.get(&key)
            && Arc::ptr_eq(data, &file.data)
        {
            return Ok(parsed.clone());
        }
        self.count += 1;
        let parsed = coracle_gotemplate::Parsed::new(path, &file.data, functions(flavour))
            .map_err(|error| error::of_parsing(path, &error).showing(|_| Some(String::from_utf8_lossy(&file.data))))?;
        self.files.insert(key, (file.data.clone(), parsed.clone()));
        Ok(parsed)
    }
}

fn functions(flavour: Flavour) -> &'static Arc<Functions> {
    static HELM_4: LazyLock<Arc<Functions>> =
        LazyLock::new(|| Arc::new(coracle_sprig::functions().with(functions::FUNCTIONS)));
    static HELM_3: LazyLock<Arc<Functions>> = LazyLock::new(|| {
        Arc::new(coracle_sprig::functions().without(coracle_sprig::ONLY_IN_HELM_4).with(functions::FUNCTIONS))
    });
    match flavour {
        Flavour::Helm4 => &HELM_4,
        Flavour::Helm3 => &HELM_3,
    }
}
