//! Sizes, rates and times: as people type them, and as they like to read them.

use std::time::Duration;

/// The longest time that is accepted, in seconds: a century is as good as never, and no clock overflows.
const MAX_TIME_S: f64 = 100.0 * 366.0 * 86_400.0;

/// Bytes from `500K`, `32M`, `1.5G`, `4096`: K, M, G, T are powers of 1024, in either case, and may be
/// followed by `B` or `iB`.
///
/// # Errors
/// A sentence when the text is no size, negative, or more than 64 bits hold.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is no size; sizes look like 4096, 500K, 32M or 1.5G");
    let (digits, unit) = split(text).ok_or_else(bad)?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(bad()),
    };
    let too_much = || format!("`{text}` is more bytes than 64 bits hold");
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(too_much);
    }
    let bytes = digits.parse::<f64>().map_err(|_| bad())? * (1_u64 << shift) as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(too_much()) }
}

/// Bytes a second from `500K` or `5M`, with or without `/s`; 0 stands for no limit.
///
/// # Errors
/// As [`size`].
pub fn rate(text: &str) -> Result<Option<u64>, String> {
    let bytes = size(text.strip_suffix("/s").unwrap_or(text))
        .map_err(|sentence| sentence.replace(" is no size; sizes", " is no rate; rates"))?;
    Ok((bytes > 0).then_some(bytes))
}

/// A time from `90`, `90s`, `5m`, `2h`, `1d`, or `1.5h`.
///
/// # Errors
/// A sentence when the text is no time, negative, or longer than a century.
pub fn time(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time; times look like 90, 90s, 5m or 2h");
    let (digits, unit) = split(text).ok_or_else(bad)?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(bad()),
    };
    let time_s = digits.parse::<f64>().map_err(|_| bad())? * seconds;
    if time_s > MAX_TIME_S {
        return Err(format!("`{text}` is more than a hundred years"));
    }
    Ok(Duration::from_secs_f64(time_s))
}

/// The digits (with at most a point among them) and the unit behind them.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    digits.starts_with(|letter: char| letter.is_ascii_digit()).then_some((digits, unit))
}

/// `1.40 GiB`, `256 KiB`: three digits that matter, and no zeros behind the point of a whole number.
pub fn for_people(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.95 would be rounded to four digits.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match UNITS[unit] {
        unit if value.fract() == 0.0 => format!("{value} {unit}"),
        unit if value < 9.995 => format!("{value:.2} {unit}"),
        unit => format!("{value:.1} {unit}"),
    }
}

/// `12.3 MiB/s`.
pub fn rate_for_people(bytes_per_s: u64) -> String {
    format!("{}/s", for_people(bytes_per_s))
}

/// `42s`, `3m07s`, `2h05m`, `6d03h`.
pub fn time_for_people(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `0.25s`, and from ten seconds on as [`time_for_people`].
pub fn elapsed_for_people(time: Duration) -> String {
    if time.as_secs() < 10 { format!("{:.2}s", time.as_secs_f64()) } else { time_for_people(time.as_secs()) }
}

/// `2026-11-22 18:30 UTC` for Unix seconds; the days are counted as in the proleptic Gregorian calendar.
pub fn date_for_people(unix_s: i64) -> String {
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    // A year that begins on the first of March has its leap day at the end; an era has 400 years.
    let day = i128::from(days) + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02} UTC", second / 3_600, second / 60 % 60)
}

/// Tenths of a percent, rounded down, so that 100.0 means all of it; all of nothing is 100.0.
pub fn percent(done: u64, total: u64) -> f64 {
    if total == 0 { 100.0 } else { (u128::from(done) * 1_000 / u128::from(total)) as f64 / 10.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("500K", 512_000),
            ("32M", 32 << 20),
            ("1.5G", 3 << 29),
            ("2t", 2 << 40),
            ("16KiB", 16_384),
            ("16kb", 16_384),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_in_a_sentence() {
        for text in ["", "K", "-1", "-5M", "1X", "1.2.3M", "ten", "1 2", "∞", "NaN", "1e9", ".5M", "5M/s"] {
            assert!(size(text).unwrap_err().contains(&format!("`{text}` is no size")), "{text}");
        }
        for text in ["18446744073709551616", "17179869184G", "99999999999999999999T"] {
            assert!(size(text).unwrap_err().contains("more bytes than 64 bits hold"), "{text}");
        }
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert_eq!(rate("0"), Ok(None));
        assert_eq!(rate("5M"), Ok(Some(5 << 20)));
        assert_eq!(rate("500K/s"), Ok(Some(512_000)));
        assert!(rate("fast").unwrap_err().contains("`fast` is no rate; rates look like"));
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7_200), ("1d", 86_400), ("0", 0)]
        {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(time("1.5h"), Ok(Duration::from_secs(5_400)));
        for text in ["", "s", "-5", "5x", "5 minutes", "1h30m", "inf"] {
            assert!(time(text).unwrap_err().contains(&format!("`{text}` is no time")), "{text}");
        }
        assert!(time("99999999999999999999h").unwrap_err().contains("hundred years"));
    }

    #[test]
    fn people_read_three_digits() {
        assert_eq!(for_people(0), "0 B");
        assert_eq!(for_people(999), "999 B");
        assert_eq!(for_people(1_000), "0.98 KiB");
        assert_eq!(for_people(1 << 20), "1 MiB");
        assert_eq!(for_people(256 << 10), "256 KiB");
        assert_eq!(for_people(1_500_000_000), "1.40 GiB");
        assert_eq!(for_people(u64::MAX), "16 EiB");
        assert_eq!(rate_for_people(12_900_000), "12.3 MiB/s");
        assert_eq!(time_for_people(59), "59s");
        assert_eq!(time_for_people(187), "3m07s");
        assert_eq!(time_for_people(7_500), "2h05m");
        assert_eq!(time_for_people(529_200), "6d03h");
        assert_eq!(elapsed_for_people(Duration::from_millis(250)), "0.25s");
        assert_eq!(elapsed_for_people(Duration::from_secs(61)), "1m01s");
    }

    #[test]
    fn dates_are_the_calendar_s() {
        for (unix_s, date) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_372_200, "2026-11-22 18:30 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date_for_people(unix_s), date);
        }
        // Nothing a torrent can say overflows.
        date_for_people(i64::MAX);
        date_for_people(i64::MIN);
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(percent(999_999, 1_000_000), 99.9);
        assert_eq!(percent(1_000_000, 1_000_000), 100.0);
        assert_eq!(percent(0, 0), 100.0);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99.9);
    }
}
