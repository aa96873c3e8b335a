//! Signals by the names images and pods use. Pure.

pub const SIGKILL: i32 = 9;
pub const SIGTERM: i32 = 15;

/// A signal by name, with or without `SIG`, or by number.
pub fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let upper = name.to_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |text: &str, base: i32, sign: i32| text.parse::<i32>().ok().map(|offset| base + sign * offset);
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        return if offset.is_empty() { Some(34) } else { realtime(offset.trim_start_matches('+'), 34, 1) };
    }
    if let Some(offset) = bare.strip_prefix("RTMAX") {
        return if offset.is_empty() { Some(64) } else { realtime(offset.trim_start_matches('-'), 64, -1) };
    }
    NAMES.iter().position(|found| *found == bare).and_then(|index| i32::try_from(index + 1).ok())
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_have_names_and_numbers() {
        let numbers = ["SIGTERM", "quit", "9", "SIGRTMIN+3", "RTMAX-1", "SIGSYS", "NONE"].map(signal_number);
        assert_eq!(numbers, [Some(15), Some(3), Some(9), Some(37), Some(63), Some(31), None]);
    }
}
