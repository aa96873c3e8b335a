//! Types by the names Go's reflection gives them, and deep equality.

use coracle_gotemplate::{Function, Type, Value};

use crate::{args::text, nesting};

const ANY: Type = Type::Any;
const S: Type = Type::String;

pub(crate) const TABLE: &[Function] = &[
    Function::new("typeOf", &[ANY], |_, a| Ok(a[0].type_name().into())),
    Function::new("typeIs", &[S, ANY], |_, a| Ok((text(&a[0]) == a[1].type_name()).into())),
    Function::new("typeIsLike", &[S, ANY], |_, a| {
        let name = a[1].type_name();
        Ok((text(&a[0]) == name || name.strip_prefix('*') == Some(&*text(&a[0]))).into())
    }),
    Function::new("kindOf", &[ANY], |_, a| Ok(a[0].kind().name().into())),
    Function::new("kindIs", &[S, ANY], |_, a| Ok((text(&a[0]) == a[1].kind().name()).into())),
    Function::new("deepEqual", &[ANY, ANY], |_, a| {
        a.iter().try_for_each(nesting::check)?;
        Ok(deep_equal(&a[0], &a[1]).into())
    }),
];

/// `reflect.DeepEqual`: the same types all the way down, and the same contents. The caller sees to the nesting.
pub(crate) fn deep_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) | (Value::Int64(left), Value::Int64(right)) => left == right,
        (Value::Uint8(left), Value::Uint8(right)) => left == right,
        (Value::Uint64(left), Value::Uint64(right)) => left == right,
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Binary(left), Value::Binary(right)) | (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::List(left), Value::List(right)) => {
            left.list_type().name() == right.list_type().name()
                && left.len() == right.len()
                && left.iter().zip(right.iter()).all(|(left, right)| deep_equal(left, right))
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if std::rc::Rc::ptr_eq(left, right) {
                return true;
            }
            let (left, right) = (left.clone(), right.clone());
            let same_type = left.dict_type() == right.dict_type();
            let (left, right) = (left.entries(), right.entries());
            same_type
                && left.len() == right.len()
                && left.iter().zip(right.iter()).all(|(left, right)| left.0 == right.0 && deep_equal(left.1, right.1))
        }
        (Value::Object(left), Value::Object(right)) => {
            std::rc::Rc::ptr_eq(left, right)
                || (left.type_name() == right.type_name() && ShownObject(left) == ShownObject(right))
        }
        _ => false,
    }
}

/// An object by what it prints, which for Go's small structs is all of them.
struct ShownObject<'a>(&'a std::rc::Rc<dyn coracle_gotemplate::Object>);

impl std::fmt::Display for ShownObject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.format(f)
    }
}

impl PartialEq for ShownObject<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
