//! The library: every function with its overloads, what they cost, and what carries them out.

mod authorizer;
mod conversions;
mod format;
mod lists;
mod named_formats;
mod network;
mod operators;
mod optionals;
mod quantity;
mod regexes;
mod semver;
mod strings;
mod table;
mod time;
mod url;

use std::{collections::HashMap, sync::OnceLock};

pub use authorizer::{Authorize, Check, Decided};
pub use authorizer::{CheckValue, DecisionValue};
pub(crate) use conversions::{base64_bytes, duration, format_duration, format_timestamp, timestamp};
pub use named_formats::NamedFormat;
pub use network::Cidr;
pub(crate) use operators::add;
pub(crate) use regexes::compiled as compiled_regex;
pub use semver::Semver;
pub use url::Url;

use crate::{
    types::Type,
    value::{EvalError, Value},
};

/// What carries a function out. The receiver of a method is the first argument.
pub type Implementation = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, EvalError>;

/// How the cost of a call goes with the sizes of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing of its own.
    Free,
    /// One.
    Unit,
    /// The shorter of two, walked once.
    Compare,
    /// Both, walked once.
    AddText,
    /// One; the sizes add up.
    AddList,
    /// The length of the list.
    In,
    /// The first argument behind the receiver.
    Affix,
    /// Text times expression.
    Matches,
    /// Text times text.
    Contains,
    /// One walk, and up to four bytes a character.
    ToBytes,
    /// One walk, and down to a character in four bytes.
    ToText,
    /// One walk of the format.
    Format,
    /// One walk, everything escaped.
    Quote,
    /// An authorizer is asked.
    Check,
    /// A selector is read.
    Selector,
    /// A list and its texts.
    Walk,
    /// One walk of the receiver.
    Traverse,
    /// One walk of the argument.
    TraverseArgument,
    /// Replacement.
    Replace,
    /// Splitting.
    Split,
    /// Joining.
    Join,
    /// Text times expression, with a result as long as the text.
    Find,
    /// One walk of the argument, with a result of one.
    Parse,
    /// Two walks of the argument.
    Canonical,
    /// An address in a network.
    ContainsAddress { text: bool },
    /// A network in a network.
    ContainsNetwork { text: bool },
    /// A named format's expression.
    Validate,
    /// The dearer branch.
    Conditional,
    /// Item or entry.
    Index,
    /// The argument is unchanged.
    Dyn,
    /// Every item of one list with every item of the other.
    Sets { twice: bool },
    /// A new list, item by item.
    Made,
    /// A new list, every item compared with every other.
    Sorted,
    /// The right side only where it is needed, and nothing for that.
    Nothing,
}

/// One signature of a function.
#[derive(Debug)]
pub struct Overload {
    /// Its identifier.
    pub id: &'static str,
    /// Whether the first parameter is a receiver.
    pub is_member: bool,
    /// Parameters, the receiver first.
    pub params: Vec<Type>,
    /// The result.
    pub result: Type,
    /// How many type parameters there are.
    pub type_params: usize,
    /// What a call costs.
    pub cost: Cost,
}

/// A function.
pub struct Function {
    /// Its signatures.
    pub overloads: Vec<Overload>,
    /// What carries it out; operators that do not evaluate all their arguments have nothing here.
    pub implementation: Implementation,
}

/// A function by its name.
pub fn find(name: &str) -> Option<&'static Function> {
    all().get(name)
}

fn all() -> &'static HashMap<&'static str, Function> {
    static ALL: OnceLock<HashMap<&'static str, Function>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut functions: HashMap<&'static str, Function> = HashMap::new();
        for (name, overload) in table::overloads() {
            let function = functions
                .entry(name)
                .or_insert_with(|| Function { overloads: Vec::new(), implementation: implementation(name) });
            function.overloads.push(overload);
        }
        functions
    })
}

fn implementation(name: &str) -> Implementation {
    [
        operators::implementation,
        conversions::implementation,
        strings::implementation,
        lists::implementation,
        time::implementation,
        optionals::implementation,
        regexes::implementation,
        format::implementation,
        named_formats::implementation,
        network::implementation,
        quantity::implementation,
        semver::implementation,
        url::implementation,
        authorizer::implementation,
    ]
    .into_iter()
    .find_map(|library: fn(&str) -> Option<Implementation>| library(name))
    .unwrap_or(no_such_overload)
}

/// What functions of several libraries share one name do: the receiver tells.
pub(crate) fn no_such_overload<'a>(_: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    Err(EvalError::no_such_overload())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_function_has_something_that_carries_it_out() {
        let lazy = ["_&&_", "_||_", "_?_:_", "@not_strictly_false"];
        let missing: Vec<&str> = super::all()
            .iter()
            .filter(|(name, function)| {
                !lazy.contains(name)
                    && std::ptr::fn_addr_eq(function.implementation, super::no_such_overload as super::Implementation)
            })
            .map(|(name, _)| *name)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
