//! Random queries whose types fit: every function and aggregation there is, modifiers, subqueries, operators.

use coracle_promql::{
    functions::Function,
    parser::ast::{Aggregator, ValueType},
};

use super::random::Random;

const SELECTORS: [&str; 24] = [
    "requests_total",
    "requests_total{code=\"200\"}",
    "requests_total{instance!~\"a|c\"}",
    "temperature",
    "temperature{job=\"api\"}",
    "odd",
    "odd{instance=\"b\"}",
    "limit",
    "latency_bucket",
    "latency_bucket{instance=~\"a|d\"}",
    "size",
    "size{job=\"db\"}",
    "weight",
    "wait",
    "wait{job=\"api\"}",
    "level",
    "mixed",
    "mixed{instance=\"b\"}",
    "target_info",
    "build_info",
    "missing",
    "{__name__=~\"temperature|limit\"}",
    "{__name__=~\"size|wait|odd\"}",
    "{job=\"api\", instance=\"a\", __name__!~\".*bucket\"}",
];
const LENGTHS: [&str; 9] = ["15s", "1m", "90s", "3m", "5m", "10m", "31s", "1h", "17m3s"];
const NUMBERS: [&str; 14] =
    ["0", "1", "2", "-3", "0.5", "1.25", "10", "Inf", "-Inf", "NaN", "0.99", "1e6", "0x1f", "1m30s"];
const LABELS: [&str; 6] = ["job", "instance", "code", "le", "version", "nothing"];
const MATH: [&str; 6] = ["+", "-", "*", "/", "%", "^"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];
const SETS: [&str; 3] = ["and", "or", "unless"];

pub fn query(random: &mut Random) -> String {
    match random.below(30) {
        0 => scalar(random, 3),
        1 => range(random, 2),
        2 => "\"some text\"".to_owned(),
        _ => vector(random, 4),
    }
}

fn of_type(random: &mut Random, kind: ValueType, depth: usize) -> String {
    match kind {
        ValueType::Scalar => scalar(random, depth),
        ValueType::Vector => vector(random, depth),
        ValueType::Matrix => range(random, depth),
        ValueType::String => format!("\"{}\"", random.pick(&LABELS)),
    }
}

fn scalar(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.below(3) > 0 {
        return random.pick(&NUMBERS).to_owned();
    }
    match random.below(5) {
        0 => format!("scalar({})", vector(random, depth - 1)),
        1 => {
            let op = random.pick(&MATH);
            format!("({} {op} {})", scalar(random, depth - 1), scalar(random, depth - 1))
        }
        2 => {
            let op = random.pick(&COMPARISONS);
            format!("({} {op} bool {})", scalar(random, depth - 1), scalar(random, depth - 1))
        }
        3 => call(random, ValueType::Scalar, depth),
        _ => format!("-{}", random.pick(&NUMBERS).trim_start_matches('-')),
    }
}

fn modifiers(random: &mut Random) -> String {
    let at = random.pick(&["", "", "", "", "", " @ start()", " @ end()", " @ 1700001500", " @ 1700000100.5"]);
    let offset = random.pick(&["", "", "", "", " offset 1m", " offset -2m", " offset 45s", " offset (30s + 15s)"]);
    format!("{at}{offset}")
}

fn selector(random: &mut Random) -> String {
    let extension = random.pick(&["", "", "", "", "", "", "", "", "", "", "", " smoothed"]);
    format!("{}{extension}{}", random.pick(&SELECTORS), modifiers(random))
}

fn range(random: &mut Random, depth: usize) -> String {
    let length = match random.below(12) {
        0 => random.pick(&["5m * 2", "1m + 30s", "10m / 4", "2m ^ 1", "step() + 1m", "max_of(step(), 3m)"]),
        _ => random.pick(&LENGTHS),
    };
    if depth > 0 && random.once_in(4) {
        let step = random.pick(&["", "30s", "1m", "17s"]);
        return format!("({})[{length}:{step}]{}", vector(random, depth - 1), modifiers(random));
    }
    let extension = match random.below(12) {
        0 => " anchored",
        1 => " smoothed",
        _ => "",
    };
    format!("{}[{length}]{extension}{}", random.pick(&SELECTORS), modifiers(random))
}

fn labels(random: &mut Random) -> String {
    let count = random.below(3);
    let chosen: Vec<&str> = (0..count).map(|_| random.pick(&LABELS)).collect();
    chosen.join(", ")
}

fn vector(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return selector(random);
    }
    match random.below(14) {
        0 => selector(random),
        1..=6 => call(random, ValueType::Vector, depth),
        7..=9 => aggregation(random, depth),
        10 => with_scalar(random, depth),
        11 | 12 => binary(random, depth),
        _ => format!("-({})", vector(random, depth - 1)),
    }
}

/// A call of any function that gives the type.
fn call(random: &mut Random, returns: ValueType, depth: usize) -> String {
    let all: Vec<&Function> = Function::all().iter().filter(|function| function.returns == returns).collect();
    let function = all[random.below(all.len())];
    let inner = depth - 1;
    match function.name {
        "label_replace" => {
            let replacement = random.pick(&["$1", "x-$1", "${1}y", "", "$name"]);
            let (into, from) = (random.pick(&LABELS), random.pick(&LABELS));
            let pattern = random.pick(&["(.).*", "(a|b)", "(?P<name>.+)", ".*"]);
            format!(
                "label_replace({}, \"{into}\", \"{replacement}\", \"{from}\", \"{pattern}\")",
                vector(random, inner)
            )
        }
        "info" => info(random, inner),
        "histogram_quantiles" => {
            let vector = histograms(random, inner);
            format!("histogram_quantiles({vector}, \"q\", {}, {})", scalar(random, 0), scalar(random, 0))
        }
        "double_exponential_smoothing" => format!(
            "double_exponential_smoothing({}, {}, {})",
            range(random, inner),
            random.pick(&["0.3", "0.5", "1", "0"]),
            random.pick(&["0.1", "0.6", "0.9", "2"])
        ),
        name @ ("histogram_quantile" | "histogram_fraction") => {
            let low = random.pick(&["0", "0.2", "-1", "-Inf", "0.5", "1.5", "NaN"]);
            let high = random.pick(&["0.5", "0.9", "0.999", "1", "3", "Inf", "-0.5"]);
            let parameters = if name == "histogram_fraction" { format!("{low}, {high}") } else { high.to_owned() };
            format!("{name}({parameters}, {})", histograms(random, inner))
        }
        name if name.starts_with("histogram_") => format!("{name}({})", histograms(random, inner)),
        name => {
            let mut arguments: Vec<ValueType> = function.args.to_vec();
            if function.variadic > 0 && arguments.len() == 1 && random.once_in(4)
                || name == "round" && random.once_in(2)
            {
                arguments.pop();
            }
            let arguments: Vec<String> = arguments.into_iter().map(|kind| of_type(random, kind, inner)).collect();
            format!("{name}({})", arguments.join(", "))
        }
    }
}

fn info(random: &mut Random, depth: usize) -> String {
    let of = random.pick(&["requests_total", "temperature", "wait", "rate(requests_total[5m])", "mixed"]);
    let of = if random.once_in(4) { vector(random, depth) } else { of.to_owned() };
    match random.below(5) {
        0 | 1 => format!("info({of})"),
        2 => format!("info({of}, {{version=~\"1.*\"}})"),
        3 => format!("info({of}, {{__name__=\"build_info\"}})"),
        _ => format!("info({of}, {{__name__=~\"(target|build)_info\", version=~\".*\"}})"),
    }
}

/// What has buckets, mostly.
fn histograms(random: &mut Random, depth: usize) -> String {
    if random.once_in(5) {
        return vector(random, depth);
    }
    let name =
        random.pick(&["size", "weight", "wait", "level", "mixed", "latency_bucket", "{__name__=~\"wait|mixed\"}"]);
    let name = format!("{name}{}", random.pick(&["", "", "{job=\"db\"}"])).replace("}{", ", ");
    match random.below(6) {
        0 => format!("{name}{}", modifiers(random)),
        1 => format!("sum by (le) (rate({name}[{}]))", random.pick(&LENGTHS)),
        2 => format!("sum by (job, le) ({name})"),
        3 => format!("increase({name}[{}])", random.pick(&LENGTHS)),
        4 => format!("avg_over_time({name}[{}])", random.pick(&LENGTHS)),
        _ => format!("rate({name}[{}]{})", random.pick(&LENGTHS), modifiers(random)),
    }
}

fn aggregation(random: &mut Random, depth: usize) -> String {
    let op = Aggregator::ALL[random.below(Aggregator::ALL.len())];
    let grouping = match random.below(4) {
        0 => format!(" without ({}) ", labels(random)),
        1 => String::new(),
        _ => format!(" by ({}) ", labels(random)),
    };
    let parameter = match op {
        Aggregator::CountValues => format!("\"{}\", ", random.pick(&["v", "job", "value"])),
        Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk => {
            format!("{}, ", random.pick(&["1", "2", "3", "5", "0", "-1", "scalar(limit)", "2.7"]))
        }
        Aggregator::LimitRatio => format!("{}, ", random.pick(&["0.5", "-0.5", "0.9", "1.5", "-1", "0"])),
        Aggregator::Quantile => format!("{}, ", scalar(random, 1)),
        _ => String::new(),
    };
    format!("{}{grouping}({parameter}{})", op.name(), vector(random, depth - 1))
}

fn with_scalar(random: &mut Random, depth: usize) -> String {
    let number = scalar(random, depth - 1);
    let vector = match random.once_in(4) {
        true => random.pick(&["size", "wait", "rate(size[5m])", "weight", "rate(wait[3m])"]).to_owned(),
        false => vector(random, depth - 1),
    };
    let op = match random.below(8) {
        0 => random.pick(&["</", ">/"]).to_owned(),
        1 | 2 => format!("{}{}", random.pick(&COMPARISONS), random.pick(&["", " bool"])),
        _ => random.pick(&MATH).to_owned(),
    };
    if random.once_in(3) && !op.contains("/") {
        format!("{number} {op} ({vector})")
    } else {
        format!("({vector}) {op} {number}")
    }
}

fn binary(random: &mut Random, depth: usize) -> String {
    let (left, right) = (vector(random, depth - 1), vector(random, depth - 1));
    let on = random.pick(&["", "", " on (job)", " on (job, instance)", " ignoring (code)", " ignoring (le, code)"]);
    match random.below(5) {
        0 => format!("({left}) {}{on} ({right})", random.pick(&SETS)),
        kind => {
            let op = match kind {
                1 => format!("{}{}", random.pick(&COMPARISONS), random.pick(&["", " bool"])),
                _ => random.pick(&MATH).to_owned(),
            };
            let side = match on {
                "" => "",
                _ => {
                    random.pick(&["", "", " group_left", " group_right", " group_left (code)", " group_left (version)"])
                }
            };
            let fill = random.pick(&["", "", "", "", " fill (0)", " fill_left (3)", " fill_right (-1)"]);
            format!("({left}) {op}{on}{side}{fill} ({right})")
        }
    }
}
