//! Lists and maps whose items are of different types: Kubernetes refuses them where they are written down, except as what
//! is formatted into a text.

use crate::{
    syntax::{Element, Entry, Expr, ExprKind, Id},
    types::Type,
};

/// The places where a type does not go with those before it.
pub fn mixed(root: &Expr, types: &[Type]) -> Vec<(Id, String)> {
    let mut found = Vec::new();
    visit(root, types, &mut found);
    found
}

fn visit(expr: &Expr, types: &[Type], found: &mut Vec<(Id, String)>) {
    let mut each = |inner: &Expr| visit(inner, types, found);
    match &expr.kind {
        ExprKind::Literal(_) | ExprKind::Ident(_) => {}
        ExprKind::Select { operand, .. } => each(operand),
        ExprKind::Call { function, .. } if function == "format" => {}
        ExprKind::Call { target, args, .. } => target.as_deref().into_iter().chain(args).for_each(each),
        ExprKind::List(elements) => {
            elements.iter().for_each(|element| each(&element.value));
            list(elements, types, found);
        }
        ExprKind::Map(entries) => {
            for entry in entries {
                each(&entry.key);
                each(&entry.value);
            }
            map(entries, types, found);
        }
        ExprKind::Struct { fields, .. } => fields.iter().for_each(|field| each(&field.value)),
        ExprKind::Comprehension(fold) => {
            [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result].into_iter().for_each(each);
        }
    }
}

fn list(elements: &[Element], types: &[Type], found: &mut Vec<(Id, String)>) {
    let of = |element: &Element| inner(&types[element.value.id], element.optional);
    let Some(first) = elements.first().map(of) else { return };
    if let Some(other) = elements.iter().find(|element| of(element) != first) {
        found.push(mismatch(other.value.id, &first, &of(other)));
    }
}

fn map(entries: &[Entry], types: &[Type], found: &mut Vec<(Id, String)>) {
    let of = |entry: &Entry| (types[entry.key.id].clone(), inner(&types[entry.value.id], entry.optional));
    let Some((key, value)) = entries.first().map(of) else { return };
    for entry in entries {
        let (other_key, other_value) = of(entry);
        if other_key != key {
            found.push(mismatch(entry.key.id, &key, &other_key));
        }
        if other_value != value {
            found.push(mismatch(entry.value.id, &value, &other_value));
        }
    }
}

fn inner(of: &Type, optional: bool) -> Type {
    match of {
        Type::Optional(inner) if optional => (**inner).clone(),
        other => other.clone(),
    }
}

fn mismatch(at: Id, wanted: &Type, found: &Type) -> (Id, String) {
    (at, format!("expected type '{wanted}' but found '{found}'"))
}
