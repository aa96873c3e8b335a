//! Random queries that have types that fit.

/// A small generator of random numbers (xorshift), so that a seed says everything.
pub struct Random(u64);

const VECTORS: [&str; 12] = [
    "requests_total",
    "temperature",
    "limit",
    "latency_bucket",
    "size",
    "wait",
    "requests_total{code=\"200\"}",
    "temperature{job=\"api\"}",
    "size{job=\"db\"}",
    "{__name__=~\"temperature|limit\"}",
    "requests_total{instance!~\"a\"}",
    "wait{job=\"api\"}",
];
const SIMPLE: [&str; 22] = [
    "abs",
    "ceil",
    "floor",
    "sqrt",
    "exp",
    "ln",
    "log2",
    "sgn",
    "round",
    "sin",
    "atan",
    "deg",
    "histogram_avg",
    "histogram_count",
    "histogram_sum",
    "histogram_stddev",
    "histogram_stdvar",
    "absent",
    "timestamp",
    "hour",
    "rad",
    "day_of_year",
];
const RANGES: [&str; 27] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "predict_linear",
    "quantile_over_time",
    "double_exponential_smoothing",
];
const AGGREGATIONS: [&str; 9] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"];
const OPERATORS: [&str; 15] = ["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "and", "or", "unless"];
const LENGTHS: [&str; 6] = ["1m", "90s", "3m", "5m", "10m", "31s"];

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    pub fn time_ms(&mut self) -> i64 {
        self.below(1300) as i64 * 1000
    }

    pub fn query(&mut self) -> String {
        self.vector(3)
    }

    fn number(&mut self) -> &'static str {
        self.pick(&["0", "1", "2", "-3", "0.5", "1.25", "10", "Inf", "NaN"])
    }

    fn selector(&mut self) -> String {
        let vector = self.pick(&VECTORS);
        let suffix = self.pick(&["", "", "", "", " offset 1m", " @ 400", " offset -2m", " @ end()"]);
        format!("{vector}{suffix}")
    }

    fn range(&mut self, depth: usize) -> String {
        let length = self.pick(&LENGTHS);
        if depth > 0 && self.below(4) == 0 {
            let inner = self.vector(depth - 1);
            let step = self.pick(&["", "30s", "1m", "17s"]);
            return format!("({inner})[{length}:{step}]");
        }
        let vector = self.pick(&VECTORS);
        let suffix = self.pick(&["", "", "", " offset 45s", " @ 500", ""]);
        format!("{vector}[{length}]{suffix}")
    }

    fn grouping(&mut self) -> &'static str {
        self.pick(&["", "", " by (job)", " by (job, instance)", " without (code)", " without (le)", " by (le)"])
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector();
        }
        match self.below(12) {
            0 => self.selector(),
            1 | 2 => format!("{}({})", self.pick(&SIMPLE), self.vector(depth - 1)),
            3 | 4 => {
                let range = self.range(depth - 1);
                match self.pick(&RANGES) {
                    "predict_linear" => format!("predict_linear({range}, {})", self.pick(&["60", "-30", "600"])),
                    "quantile_over_time" => format!("quantile_over_time({}, {range})", self.number()),
                    "double_exponential_smoothing" => format!("double_exponential_smoothing({range}, 0.3, 0.6)"),
                    name => format!("{name}({range})"),
                }
            }
            5 | 6 => {
                let (op, grouping) = (self.pick(&AGGREGATIONS), self.grouping());
                let param = if op == "quantile" {
                    format!("{}, ", self.pick(&["0.1", "0.5", "0.99", "2"]))
                } else {
                    String::new()
                };
                format!("{op}{grouping} ({param}{})", self.vector(depth - 1))
            }
            7 => {
                let op = self.pick(&OPERATORS[..12]);
                let modifier = if self.below(3) == 0 && OPERATORS[6..12].contains(&op) { " bool" } else { "" };
                format!("({}) {op}{modifier} {}", self.vector(depth - 1), self.number())
            }
            8 | 9 => {
                let op = self.pick(&OPERATORS);
                let matching = self.pick(&["", "", " on (job)", " on (job, instance)", " ignoring (code)"]);
                let grouped = !matching.is_empty() && !OPERATORS[12..].contains(&op);
                let side = if grouped {
                    self.pick(&["", "", " group_left ()", " group_right ()", " group_left (code)"])
                } else {
                    ""
                };
                format!("({}) {op}{matching}{side} ({})", self.vector(depth - 1), self.vector(depth - 1))
            }
            10 => {
                let q = self.pick(&["0.1", "0.5", "0.9", "0.999", "1"]);
                match self.below(3) {
                    0 => format!("histogram_fraction(0.2, {q}, {})", self.vector(depth - 1)),
                    _ => format!("histogram_quantile({q}, {})", self.vector(depth - 1)),
                }
            }
            _ => match self.below(4) {
                0 => format!("-({})", self.vector(depth - 1)),
                1 => format!("label_replace({}, \"x\", \"$1\", \"job\", \"(.).*\")", self.vector(depth - 1)),
                2 => format!(
                    "({}) {} {}",
                    self.pick(&["size", "wait", "rate(size[5m])"]),
                    self.pick(&["</", ">/", "*", "/"]),
                    self.number()
                ),
                _ => format!("clamp({}, -2, 7)", self.vector(depth - 1)),
            },
        }
    }
}
