//! Cost: what an expression will cost at the most, from the sizes its schema allows, and what a call did cost.
//!
//! The numbers are Kubernetes', whose limits on definitions and on evaluations are set in them.

use std::collections::HashMap;

use crate::{
    check::{Checked, Reference},
    functions::{self, Cost},
    syntax::{Comprehension, Expr, ExprKind, Id, Literal, operator},
    types::{Declaration, Type},
    value::Value,
};

const TRAVERSAL: f64 = 0.1;
const REGEX: f64 = 0.25;
const CHECK: u64 = 350_000;
const LIST: u64 = 10;
const FORMAT_REGEX: f64 = 128.0;

/// From at least to at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Range {
    /// Exactly.
    pub const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    fn add(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

fn scale(value: u64, factor: f64) -> u64 {
    let scaled = (value as f64 * factor).ceil();
    if scaled >= u64::MAX as f64 { u64::MAX } else { scaled as u64 }
}

/// The cost of one call, by its arguments.
pub fn runtime(cost: Cost, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    let size = |index: usize| args.get(index).and_then(Value::size).unwrap_or(1);
    let walk = |index: usize, factor: f64| scale(size(index), factor);
    match cost {
        Cost::Free | Cost::Conditional | Cost::Nothing => 0,
        Cost::Sets { twice } => 1 + size(0).saturating_mul(size(1)).saturating_mul(if twice { 2 } else { 1 }),
        Cost::Made => 1 + LIST + result.size().unwrap_or(0),
        Cost::Sorted => {
            let keys = args.last();
            let of_texts = matches!(keys, Some(Value::List(list)) if matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_))));
            let factor = if of_texts { 2.0 + TRAVERSAL } else { 2.0 };
            let count = keys.and_then(Value::size).unwrap_or(0);
            1 + LIST + (count.saturating_mul(count) as f64 * factor) as u64
        }
        Cost::Unit | Cost::AddList | Cost::Index | Cost::Dyn => 1,
        Cost::Compare => match args {
            [Value::Opaque(_), ..] => 1,
            _ => scale(size(0).min(size(1)), TRAVERSAL),
        },
        Cost::AddText => scale(size(0).saturating_add(size(1)), TRAVERSAL),
        Cost::In => size(1),
        Cost::Affix | Cost::ToBytes | Cost::ToText | Cost::Format | Cost::Quote => walk(0, TRAVERSAL),
        Cost::Traverse | Cost::TraverseArgument | Cost::Parse => walk(0, TRAVERSAL),
        Cost::Matches | Cost::Find => scale(size(0).saturating_add(1), TRAVERSAL).saturating_mul(walk(1, REGEX)),
        Cost::Contains => walk(0, TRAVERSAL).saturating_mul(walk(1, TRAVERSAL)),
        Cost::Check => CHECK,
        Cost::Selector => selector(Range::exactly(size(1))).max,
        Cost::Walk => args.first().map_or(0, walk_value),
        Cost::Replace | Cost::Split | Cost::Canonical => walk(0, 2.0 * TRAVERSAL),
        Cost::Join => scale(result.size().unwrap_or(1), 2.0 * TRAVERSAL),
        Cost::ContainsAddress { text } => scale(2 * size(0), TRAVERSAL) + if text { walk(1, TRAVERSAL) } else { 0 },
        Cost::ContainsNetwork { text } => {
            let base = scale(2 * size(0), TRAVERSAL) + walk(0, TRAVERSAL) + 1;
            base + if text { walk(1, TRAVERSAL) } else { 0 }
        }
        Cost::Validate => {
            let expression = match args {
                [Value::Opaque(format), ..] => match &**format {
                    crate::value::Opaque::Format(format) => format.expression_size,
                    _ => 0,
                },
                _ => 0,
            };
            scale(size(1).saturating_add(1), TRAVERSAL).saturating_mul(scale(expression, REGEX))
        }
    }
}

fn selector(length: Range) -> Range {
    let requirements = length.scaled(0.5).scaled(50.0);
    Range::exactly(10).add(length.scaled(TRAVERSAL)).add(requirements)
}

/// A whole tree of values, walked once.
fn walk_value(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(bytes) => (bytes.len() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.iter().map(|item| walk_value(&item)).sum(),
        Value::Map(map) => map.iter().map(|(key, value)| walk_value(&key) + walk_value(&value)).sum(),
        _ => 1,
    }
}

/// What evaluating will cost.
pub fn estimate(root: &Expr, checked: &Checked, declarations: &[Declaration]) -> Range {
    let mut estimator = Estimator {
        checked,
        declarations,
        locals: Vec::new(),
        places: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
    };
    estimator.cost(root)
}

/// The sizes of the keys and values of a container made in the expression.
#[derive(Clone, Copy, Debug)]
struct Inside {
    is_list: bool,
    key: Range,
    value: Range,
}

/// What is known of a comprehension's variable.
struct Local<'a> {
    name: String,
    place: Place<'a>,
    size: Option<Range>,
    inside: Option<Inside>,
}

/// Where in the schema a value comes from.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Nowhere known.
    Nowhere,
    /// Declared so.
    At(&'a Declaration),
    /// The key of a declared map.
    Key,
}

struct Estimator<'a> {
    checked: &'a Checked,
    declarations: &'a [Declaration],
    locals: Vec<Local<'a>>,
    places: HashMap<Id, Place<'a>>,
    sizes: HashMap<Id, Range>,
    entries: HashMap<Id, Inside>,
}

/// A call's cost, and the size of what comes out.
struct CallCost {
    cost: Range,
    size: Option<Range>,
}

impl From<Range> for CallCost {
    fn from(cost: Range) -> Self {
        Self { cost, size: None }
    }
}

impl<'a> Estimator<'a> {
    fn type_of(&self, expr: &Expr) -> &'a Type {
        &self.checked.types[expr.id]
    }

    fn local(&self, expr: &Expr) -> Option<&Local<'a>> {
        match self.checked.references.get(&expr.id) {
            Some(Reference::Local(name)) => self.locals.iter().rev().find(|local| local.name == *name),
            _ => None,
        }
    }

    fn place(&self, expr: &Expr) -> Place<'a> {
        if let Some(local) = self.local(expr) {
            return local.place;
        }
        self.places.get(&expr.id).copied().unwrap_or(Place::Nowhere)
    }

    fn cost(&mut self, expr: &Expr) -> Range {
        match self.checked.references.get(&expr.id) {
            Some(Reference::Variable(index)) => {
                if let Some(declaration) = self.declarations.get(*index) {
                    self.places.insert(expr.id, Place::At(declaration));
                }
                return Range::exactly(1);
            }
            Some(Reference::Local(_) | Reference::TypeName(_)) => return Range::exactly(1),
            _ => {}
        }
        match &expr.kind {
            ExprKind::Literal(_) => Range::exactly(0),
            ExprKind::Ident(_) => Range::exactly(1),
            ExprKind::Select { operand, field, test_only } => self.select(expr, operand, field, *test_only),
            ExprKind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            ExprKind::List(elements) => {
                let mut sum = Range::exactly(10);
                let mut size = (!elements.is_empty()).then_some(Range { min: u64::MAX, max: 0 });
                for element in elements {
                    sum = sum.add(self.cost(&element.value));
                    size = size.map(|size| size.union(self.size_or_unknown(&element.value)));
                }
                let value = size.unwrap_or(Range::exactly(0));
                self.entries.insert(expr.id, Inside { is_list: true, key: Range::exactly(1), value });
                sum
            }
            ExprKind::Map(parts) => {
                let mut sum = Range::exactly(30);
                let start = if parts.is_empty() { Range::exactly(0) } else { Range { min: u64::MAX, max: 0 } };
                let mut inside = Inside { is_list: false, key: start, value: start };
                for entry in parts {
                    sum = sum.add(self.cost(&entry.key)).add(self.cost(&entry.value));
                    inside.key = inside.key.union(self.size_or_unknown(&entry.key));
                    inside.value = inside.value.union(self.size_or_unknown(&entry.value));
                }
                self.entries.insert(expr.id, inside);
                sum
            }
            ExprKind::Struct { fields, .. } => {
                fields.iter().fold(Range::exactly(40), |sum, field| sum.add(self.cost(&field.value)))
            }
            ExprKind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test_only: bool) -> Range {
        let mut sum = self.cost(operand);
        if test_only {
            return sum;
        }
        if matches!(self.type_of(operand), Type::Map(..) | Type::Object(_) | Type::Named(_)) {
            sum = sum.add(Range::exactly(1));
        }
        if let Place::At(declaration) = self.place(operand)
            && let Some(field) = declaration.field(field)
        {
            self.places.insert(expr.id, Place::At(&field.declaration));
        }
        sum
    }

    fn size(&mut self, expr: &Expr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        let inline = match &expr.kind {
            ExprKind::Literal(Literal::String(text)) => Some(text.chars().count()),
            ExprKind::Literal(Literal::Bytes(bytes)) => Some(bytes.len()),
            ExprKind::Literal(_) => Some(1),
            ExprKind::List(elements) => Some(elements.len()),
            ExprKind::Map(entries) => Some(entries.len()),
            _ => None,
        };
        if let Some(size) = inline {
            return Some(Range::exactly(size as u64));
        }
        let of_place = match self.place(expr) {
            Place::At(declaration) if declaration.max_elements < u64::MAX => Some(declaration.max_elements),
            Place::Key => Some(KEY_LENGTH),
            _ => None,
        };
        if let Some(max) = of_place {
            return Some(Range { min: 0, max });
        }
        if is_scalar(self.type_of(expr)) {
            return Some(Range::exactly(1));
        }
        self.local(expr).and_then(|local| local.size)
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Range {
        self.size(expr).unwrap_or(Range::UNKNOWN)
    }

    fn inside(&self, expr: &Expr) -> Option<Inside> {
        self.entries.get(&expr.id).copied().or_else(|| self.local(expr).and_then(|local| local.inside))
    }

    fn comprehension(&mut self, expr: &Expr, fold: &Comprehension) -> Range {
        let mut sum = self.cost(&fold.range).add(self.cost(&fold.init));
        let is_bind = matches!(&fold.range.kind, ExprKind::List(items) if items.is_empty())
            && matches!(fold.condition.kind, ExprKind::Literal(Literal::Bool(false)))
            && fold.accumulator != crate::syntax::ACCUMULATOR;
        let accumulator = Local {
            name: fold.accumulator.clone(),
            place: if is_bind { self.place(&fold.init) } else { Place::Nowhere },
            size: self.size(&fold.init),
            inside: self.inside(&fold.init),
        };
        let depth = self.locals.len();
        self.locals.push(accumulator);
        if is_bind {
            sum = sum.add(self.cost(&fold.result));
            self.locals.truncate(depth);
            if let Some(size) = self.size(&fold.result) {
                self.sizes.insert(expr.id, size);
            }
            if let Some(inside) = self.inside(&fold.result) {
                self.entries.insert(expr.id, inside);
            }
            return sum;
        }
        self.variables(fold);
        let each = self.cost(&fold.condition).add(self.cost(&fold.step));
        self.locals.truncate(depth + 1);
        sum = sum.add(self.cost(&fold.result));
        self.locals.truncate(depth);
        let count = self.size_or_unknown(&fold.range);
        sum = sum.add(count.times(each));
        match &fold.init.kind {
            ExprKind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            ExprKind::List(_) | ExprKind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(inside) = self.inside(&fold.step) {
                    self.entries.insert(expr.id, inside);
                }
            }
            _ => {}
        }
        sum
    }

    fn variables(&mut self, fold: &Comprehension) {
        let inside = self.inside(&fold.range);
        let is_list = inside.map_or(matches!(self.type_of(&fold.range), Type::List(_)), |inside| inside.is_list);
        let place = self.place(&fold.range);
        let element = match place {
            Place::At(declaration) => declaration.element.as_deref().map_or(Place::Nowhere, Place::At),
            _ => Place::Nowhere,
        };
        let key_place = match place {
            Place::At(_) if !is_list => Place::Key,
            _ => Place::Nowhere,
        };
        let key = Local {
            name: fold.variable.clone(),
            place: key_place,
            size: inside.map(|inside| inside.key),
            inside: None,
        };
        let value = |name: &str| Local {
            name: name.to_owned(),
            place: element,
            size: inside.map(|inside| inside.value),
            inside: None,
        };
        match &fold.second {
            Some(second) => {
                let value = value(second);
                self.locals.extend([key, value]);
            }
            None if is_list => {
                let value = value(&fold.variable);
                self.locals.push(value);
            }
            None => self.locals.push(key),
        }
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) -> Range {
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(arg)).collect();
        let arguments = costs.iter().fold(Range::exactly(0), |sum, cost| sum.add(*cost));
        let Some(Reference::Overloads(name, fitting)) = self.checked.references.get(&expr.id) else {
            // An optional selection is an operator without overloads.
            if function == operator::OPT_SELECT
                && let Place::At(declaration) = self.place(&args[0])
                && let ExprKind::Literal(Literal::String(field)) = &args[1].kind
                && let Some(field) = declaration.field(field)
            {
                self.places.insert(expr.id, Place::At(&field.declaration));
            }
            return arguments.add(Range::exactly(1));
        };
        let Some(known) = functions::find(name) else { return arguments };
        let is_member = known.overloads[fitting[0]].is_member;
        let target = target.filter(|_| is_member);
        let mut sum = Range::exactly(0);
        if let Some(target) = target {
            sum = sum.add(self.cost(target));
        }
        let mut cost: Option<Range> = None;
        let mut size: Option<Range> = None;
        for index in fitting {
            let overload = &known.overloads[*index];
            let call = match overload.cost {
                Cost::Free => {
                    let min = costs[0].min;
                    Range { min, max: costs[0].add(costs[1]).max }.into()
                }
                Cost::Conditional => self.conditional(expr, args, &costs),
                kind => {
                    let call = self.call_cost(expr, kind, target, args);
                    CallCost { cost: call.cost.add(arguments), size: call.size }
                }
            };
            cost = Some(cost.map_or(call.cost, |so_far| so_far.union(call.cost)));
            size = match (size, call.size) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
            if matches!(overload.id, "index_list" | "index_map") {
                size = self.inside(&args[0]).map(|inside| inside.value);
                if let Place::At(declaration) = self.place(&args[0])
                    && let Some(element) = &declaration.element
                {
                    self.places.insert(expr.id, Place::At(element));
                }
            }
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        sum.add(cost.unwrap_or(Range::exactly(0)))
    }

    fn conditional(&mut self, expr: &Expr, args: &[Expr], costs: &[Range]) -> CallCost {
        let size = self.size_or_unknown(&args[1]).union(self.size_or_unknown(&args[2]));
        if let (Some(a), Some(b)) = (self.inside(&args[1]), self.inside(&args[2])) {
            let both = Inside { is_list: a.is_list, key: a.key.union(b.key), value: a.value.union(b.value) };
            self.entries.insert(expr.id, both);
        }
        CallCost { cost: costs[0].add(costs[1].union(costs[2])), size: Some(size) }
    }

    /// The size of the items of a list, where anything is known of them.
    fn item_size(&mut self, list: &Expr) -> Option<(Range, &'a Type)> {
        let item = match self.type_of(list) {
            Type::List(item) => &**item,
            Type::Map(key, _) => &**key,
            _ => return None,
        };
        let size = match self.place(list) {
            Place::At(declaration) => declaration
                .element
                .as_deref()
                .filter(|element| element.max_elements < u64::MAX)
                .map(|element| Range { min: 0, max: element.max_elements }),
            _ => None,
        };
        Some((size.unwrap_or(Range::UNKNOWN), item))
    }

    fn call_cost(&mut self, expr: &Expr, kind: Cost, target: Option<&Expr>, args: &[Expr]) -> CallCost {
        let first = target.or(args.first());
        let subject = first.map_or(Range::UNKNOWN, |first| self.size_or_unknown(first));
        let sizes: Vec<Range> = args.iter().map(|arg| self.size_or_unknown(arg)).collect();
        let arg = |index: usize| sizes.get(index).copied().unwrap_or(Range::UNKNOWN);
        let one = Range::exactly(1);
        let walked = subject.scaled(TRAVERSAL);
        match kind {
            Cost::Free | Cost::Conditional | Cost::Unit | Cost::Index | Cost::Nothing => one.into(),
            Cost::Sets { twice } => arg(0).times(arg(1)).scaled(if twice { 2.0 } else { 1.0 }).add(one).into(),
            Cost::Made => {
                let size = match args.first().map(|arg| &arg.kind) {
                    Some(ExprKind::Literal(Literal::Int(end))) if target.is_none() => {
                        Range::exactly((*end).max(0) as u64)
                    }
                    _ if target.is_none() => Range::UNKNOWN,
                    _ => subject,
                };
                CallCost { cost: size.add(Range::exactly(1 + LIST)), size: Some(size) }
            }
            Cost::Sorted => {
                let keys = if args.is_empty() { subject } else { arg(0) };
                let squared = keys.times(keys);
                CallCost { cost: squared.scaled(2.0 + TRAVERSAL).add(Range::exactly(1 + LIST)), size: Some(squared) }
            }
            Cost::Dyn => CallCost { cost: one, size: Some(subject) },
            Cost::Compare => {
                if matches!(self.type_of(&args[0]), Type::Opaque(_)) && self.type_of(&args[0]) == self.type_of(&args[1])
                {
                    return one.into();
                }
                let (left, right) = (arg(0), arg(1));
                let max = left.max.min(right.max);
                Range { min: u64::from(max > 0), max }.scaled(TRAVERSAL).into()
            }
            Cost::AddText | Cost::AddList => {
                let size = arg(0).add(arg(1));
                if let (Some(a), Some(b)) = (self.inside(&args[0]), self.inside(&args[1])) {
                    let both = Inside { is_list: a.is_list, key: a.key.union(b.key), value: a.value.union(b.value) };
                    self.entries.insert(expr.id, both);
                }
                let cost = if kind == Cost::AddList { one } else { size.scaled(TRAVERSAL) };
                CallCost { cost, size: Some(size) }
            }
            Cost::In => arg(1).into(),
            Cost::Affix => arg(0).scaled(TRAVERSAL).into(),
            Cost::Matches => {
                let text = subject.add(one).scaled(TRAVERSAL);
                let expression = if target.is_some() { arg(0) } else { arg(1) };
                text.times(expression.scaled(REGEX)).into()
            }
            Cost::Find => {
                let text = subject.add(one).scaled(TRAVERSAL);
                let size = Range { min: 0, max: subject.max };
                CallCost { cost: text.times(arg(0).scaled(REGEX)), size: Some(size) }
            }
            Cost::Contains => walked.times(arg(0).scaled(TRAVERSAL)).into(),
            Cost::ToBytes => {
                CallCost { cost: walked, size: Some(Range { min: subject.min, max: subject.max.saturating_mul(4) }) }
            }
            Cost::ToText => CallCost { cost: walked, size: Some(Range { min: subject.min / 4, max: subject.max }) },
            Cost::Format => walked.into(),
            Cost::Quote => {
                let size = Range { min: subject.min + 2, max: subject.max.saturating_mul(2).saturating_add(2) };
                CallCost { cost: walked, size: Some(size) }
            }
            Cost::Check => Range::exactly(CHECK).into(),
            Cost::Selector => selector(arg(0)).into(),
            Cost::Walk => {
                let Some((size, item)) = first.and_then(|list| self.item_size(list)) else { return walked.into() };
                let each =
                    if matches!(item, Type::String | Type::Bytes) { one.add(size.scaled(TRAVERSAL)) } else { one };
                subject.times(each).into()
            }
            Cost::Traverse | Cost::TraverseArgument => CallCost { cost: walked, size: Some(subject) },
            Cost::Parse => walked.into(),
            Cost::Canonical => subject.scaled(2.0 * TRAVERSAL).into(),
            Cost::Replace => {
                CallCost { cost: subject.scaled(2.0 * TRAVERSAL), size: Some(replaced(subject, arg(0), arg(1))) }
            }
            Cost::Split => {
                let most = match args.get(1).map(|arg| &arg.kind) {
                    Some(ExprKind::Literal(Literal::Int(most))) => *most as u64,
                    _ => subject.max,
                };
                CallCost { cost: subject.scaled(2.0 * TRAVERSAL), size: Some(Range { min: 0, max: most }) }
            }
            Cost::Join => {
                let separator = args.first().map(|_| arg(0));
                let mut size = Range::exactly(0);
                if let Some((item, _)) = first.and_then(|list| self.item_size(list)) {
                    size = subject.times(item);
                }
                if let Some(separator) = separator {
                    let between = Range { min: subject.min.saturating_sub(1), max: subject.max.saturating_sub(1) };
                    size = size.add(separator.times(between));
                }
                CallCost { cost: size.scaled(TRAVERSAL), size: Some(size) }
            }
            Cost::ContainsAddress { text } => {
                let address = Range { min: 4, max: 16 };
                let base = address.add(address).scaled(TRAVERSAL);
                if text { base.add(arg(0).scaled(TRAVERSAL)) } else { base }.into()
            }
            Cost::ContainsNetwork { text } => {
                let address = Range { min: 4, max: 16 };
                let base = address.add(address).scaled(TRAVERSAL).add(address.scaled(TRAVERSAL)).add(one);
                if text { base.add(arg(0).scaled(TRAVERSAL)) } else { base }.into()
            }
            Cost::Validate => arg(0).scaled(TRAVERSAL).scaled(FORMAT_REGEX * REGEX).into(),
        }
    }
}

/// Kubernetes takes the keys of maps for nothing.
const KEY_LENGTH: u64 = 0;

fn replaced(text: Range, old: Range, new: Range) -> Range {
    let mut count = Range::exactly(0);
    let mut kept = Range::exactly(0);
    if old.min == 0 {
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        count.max = text.max.div_ceil(old.min);
    }
    if old.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        count.min = text.min.div_ceil(old.max);
    }
    count.times(new).add(kept)
}

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}
