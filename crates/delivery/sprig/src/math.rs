//! Arithmetic: on whole numbers by default, on decimal fractions where the name ends in `f`.

mod decimal;

use coracle_gotemplate::{Function, List, ListType, Type, Value};

use crate::{
    args::{Result, fail, int},
    cast::{to_float, to_int},
};
use decimal::Decimal;

const ANY: Type = Type::Any;
const I: Type = Type::Int;

pub(crate) const TABLE: &[Function] = &[
    Function::new("add1", &[ANY], |_, a| Ok(Value::Int64(to_int(&a[0]).wrapping_add(1)))),
    Function::variadic("add", &[], ANY, |_, a| Ok(Value::Int64(fold(0, a, i64::wrapping_add)))),
    Function::new("sub", &[ANY, ANY], |_, a| Ok(Value::Int64(to_int(&a[0]).wrapping_sub(to_int(&a[1]))))),
    Function::new("div", &[ANY, ANY], |_, a| divide(a, i64::wrapping_div)),
    Function::new("mod", &[ANY, ANY], |_, a| divide(a, i64::wrapping_rem)),
    Function::variadic("mul", &[ANY], ANY, |_, a| {
        Ok(Value::Int64(fold(to_int(&a[0]), &a[1..], i64::wrapping_mul)))
    }),
    Function::new("add1f", &[ANY], |_, a| decimal(&a[0], &[Value::Int(1)], |l, r| Ok(l.add(r)))),
    Function::variadic("addf", &[], ANY, |_, a| decimal(&Value::Float(0.0), a, |l, r| Ok(l.add(r)))),
    Function::variadic("subf", &[ANY], ANY, |_, a| decimal(&a[0], &a[1..], |l, r| Ok(l.subtract(r)))),
    Function::variadic("mulf", &[ANY], ANY, |_, a| decimal(&a[0], &a[1..], |l, r| Ok(l.multiply(r)))),
    Function::variadic("divf", &[ANY], ANY, |_, a| {
        decimal(&a[0], &a[1..], |l, r| l.divide(r).map_or_else(|| fail("decimal division by 0"), Ok))
    }),
    Function::variadic("biggest", &[ANY], ANY, |_, a| Ok(Value::Int64(fold(to_int(&a[0]), &a[1..], i64::max)))),
    Function::variadic("max", &[ANY], ANY, |_, a| Ok(Value::Int64(fold(to_int(&a[0]), &a[1..], i64::max)))),
    Function::variadic("min", &[ANY], ANY, |_, a| Ok(Value::Int64(fold(to_int(&a[0]), &a[1..], i64::min)))),
    Function::variadic("maxf", &[ANY], ANY, |_, a| Ok(Value::Float(extreme(a, f64::INFINITY, f64::max)))),
    Function::variadic("minf", &[ANY], ANY, |_, a| Ok(Value::Float(extreme(a, f64::NEG_INFINITY, f64::min)))),
    Function::new("ceil", &[ANY], |_, a| Ok(Value::Float(to_float(&a[0]).ceil()))),
    Function::new("floor", &[ANY], |_, a| Ok(Value::Float(to_float(&a[0]).floor()))),
    Function::variadic("round", &[ANY, I], Type::Float64, |_, a| {
        let round_up_from = a.get(2).map_or(0.5, to_float);
        Ok(Value::Float(round(to_float(&a[0]), int(&a[1]), round_up_from)))
    }),
    Function::new("until", &[I], |_, a| {
        let stop = int(&a[0]);
        ints(count(0, stop, if stop < 0 { -1 } else { 1 }))
    }),
    Function::new("untilStep", &[I, I, I], |_, a| ints(count(int(&a[0]), int(&a[1]), int(&a[2])))),
    Function::variadic("seq", &[], I, |_, a| sequence(&a.iter().map(int).collect::<Vec<_>>())),
];

fn fold(start: i64, values: &[Value], combine: impl Fn(i64, i64) -> i64) -> i64 {
    values.iter().map(to_int).fold(start, combine)
}

fn divide(arguments: &[Value], operation: impl Fn(i64, i64) -> i64) -> Result {
    match to_int(&arguments[1]) {
        0 => fail("runtime error: integer divide by zero"),
        divisor => Ok(Value::Int64(operation(to_int(&arguments[0]), divisor))),
    }
}

fn decimal(first: &Value, rest: &[Value], operation: impl Fn(&Decimal, &Decimal) -> Result<Decimal>) -> Result {
    let mut result = read_decimal(first)?;
    for value in rest {
        result = operation(&result, &read_decimal(value)?)?;
    }
    Ok(Value::Float(result.to_f64()))
}

fn read_decimal(value: &Value) -> Result<Decimal> {
    let number = to_float(value);
    let name = coracle_gotemplate::number::special(number).unwrap_or_default();
    Decimal::from_f64(number).map_or_else(|| fail(format!("Cannot create a Decimal from {name}")), Ok)
}

/// Go's `math.Max` and `math.Min`: not-a-number wins over all but the infinity on its side.
fn extreme(values: &[Value], strongest: f64, pick: impl Fn(f64, f64) -> f64) -> f64 {
    let combine = |left: f64, right: f64| {
        if left == strongest || right == strongest {
            strongest
        } else if left.is_nan() || right.is_nan() {
            f64::NAN
        } else {
            pick(left, right)
        }
    };
    values.iter().map(to_float).reduce(combine).unwrap_or_default()
}

/// Rounds to decimal places; a fraction of `round_up_from` or more goes up.
fn round(value: f64, places: i64, round_up_from: f64) -> f64 {
    let power = 10f64.powi(i32::try_from(places).unwrap_or(i32::MAX));
    let shifted = power * value;
    let rounded = if shifted.fract() >= round_up_from { shifted.ceil() } else { shifted.floor() };
    rounded / power
}

/// More numbers than this in a list could only fill the memory.
const LONGEST_COUNT: usize = 1_000_000;

/// The numbers from `start` by `step`, `stop` left out; none if the step leads away from it.
fn count(start: i64, stop: i64, step: i64) -> Vec<i64> {
    let leads_there = if stop < start { step < 0 } else { step > 0 };
    if !leads_there {
        return Vec::new();
    }
    let mut numbers = Vec::new();
    let mut number = start;
    while (if step > 0 { number < stop } else { number > stop }) && numbers.len() <= LONGEST_COUNT {
        numbers.push(number);
        match number.checked_add(step) {
            Some(next) => number = next,
            None => break,
        }
    }
    numbers
}

fn ints(numbers: Vec<i64>) -> Result {
    if numbers.len() > LONGEST_COUNT {
        return fail(format!("a list of more than {LONGEST_COUNT} numbers"));
    }
    Ok(Value::List(List::new(ListType::Int, numbers.into_iter().map(Value::Int).collect()).into()))
}

/// Numbers between blanks, the end included: `last`, `first last` or `first step last`.
fn sequence(parameters: &[i64]) -> Result {
    let (start, step, end) = match *parameters {
        [end] => (1, if end < 1 { -1 } else { 1 }, end),
        [start, end] => (start, if end < start { -1 } else { 1 }, end),
        [start, step, end] if end >= start || step <= 0 => (start, step, end),
        _ => return Ok("".into()),
    };
    let beyond = if end < start { -1 } else { 1 };
    let numbers = count(start, end.saturating_add(beyond), step);
    if numbers.len() > LONGEST_COUNT {
        return fail(format!("a sequence of more than {LONGEST_COUNT} numbers"));
    }
    Ok(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" ").into())
}
