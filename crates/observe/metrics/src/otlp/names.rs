//! OpenTelemetry's names as Prometheus writes them: other characters become underscores, units and `_total` are appended.
//! After the OpenTelemetry specification's "Prometheus and OpenMetrics Compatibility".

use super::{Data, Metric};

/// Units by what stands for them in UCUM.
const UNITS: [(&str, &str); 33] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("B", "bytes"),
    ("KB", "kilobytes"),
    ("MB", "megabytes"),
    ("GB", "gigabytes"),
    ("TB", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
    ("KHz", "kilohertz"),
    ("MHz", "megahertz"),
];

const PER_UNITS: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

fn lookup<'a>(table: &[(&str, &'a str)], unit: &'a str) -> &'a str {
    table.iter().find(|(short, _)| *short == unit).map_or(unit, |(_, long)| long)
}

fn words(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == ':';
    text.split(|character| !is_part(character)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A metric's name with what its unit and kind append.
pub(super) fn metric_name(metric: &Metric) -> String {
    let mut name = words(&metric.name);
    let (unit, per) = metric.unit.split_once('/').unwrap_or((&metric.unit, ""));
    let mut suffixes = Vec::new();
    // A unit in braces is a remark.
    if !unit.contains(['{', '}']) {
        suffixes.extend(words(lookup(&UNITS, unit.trim())));
    }
    if !per.is_empty() && !per.contains(['{', '}']) {
        let per = words(lookup(&PER_UNITS, per.trim()));
        if !per.is_empty() {
            suffixes.push("per".to_owned());
            suffixes.extend(per);
        }
    }
    let missing: Vec<String> = suffixes.into_iter().filter(|suffix| !name.contains(suffix)).collect();
    name.extend(missing);
    let last = match metric.data {
        Data::Sum { monotonic: true, .. } => Some("total"),
        Data::Gauge(_) if metric.unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        name.retain(|word| word != last);
        name.push(last.to_owned());
    }
    let name = name.join("_");
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

/// A label's name.
pub(super) fn label_name(name: &str) -> String {
    let mut label: String =
        name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect();
    if label.starts_with(|first: char| first.is_ascii_digit()) {
        label.insert_str(0, "key_");
    } else if label.starts_with('_') && !label.starts_with("__") {
        label.insert_str(0, "key");
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_writes_them() {
        let name = |name: &str, unit: &str, data: Data| {
            metric_name(&Metric { name: name.to_owned(), unit: unit.to_owned(), data, ..Metric::default() })
        };
        let sum = || Data::Sum { points: Vec::new(), delta: false, monotonic: true };
        assert_eq!(name("http.server.duration", "ms", Data::Nothing), "http_server_duration_milliseconds");
        assert_eq!(name("system.network.io", "By", sum()), "system_network_io_bytes_total");
        assert_eq!(name("requests_total", "{request}", sum()), "requests_total");
        assert_eq!(name("cpu.utilization", "1", Data::Gauge(Vec::new())), "cpu_utilization_ratio");
        assert_eq!(name("speed", "m/s", Data::Gauge(Vec::new())), "speed_meters_per_second");
        assert_eq!(name("2xx", "", Data::Nothing), "_2xx");
        assert_eq!(label_name("http.status_code"), "http_status_code");
        assert_eq!(label_name("1st"), "key_1st");
        assert_eq!(label_name("_hidden"), "key_hidden");
    }
}
