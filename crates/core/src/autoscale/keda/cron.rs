//! The trigger `cron`: so many replicas between two recurring times.
//!
//! Upstream: `pkg/scalers/cron_scaler.go` (<https://keda.sh/docs/2.21/scalers/cron/>) and the schedules of
//! `github.com/robfig/cron/v3`.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::parameters::{Parameters, Reader};

/// Parameters of the trigger, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// Name of the time zone; whether there is one is only asked when the trigger is read.
    pub timezone: String,
    /// When it begins, five fields.
    pub start: String,
    /// When it ends, five fields.
    pub end: String,
    /// Replicas in between.
    pub desired_replicas: i64,
    from: Schedule,
    to: Schedule,
}

impl Cron {
    /// Reads and checks the parameters; the error names every wrong one.
    pub fn parse(parameters: &Parameters) -> Result<Self, String> {
        let mut reader = Reader::new(parameters);
        let timezone = reader.required_text("timezone");
        let (start, end) = (reader.required_text("start"), reader.required_text("end"));
        let desired_replicas = reader.required_int("desiredReplicas");
        let schedules = || {
            let from = Schedule::parse(&start).map_err(|error| format!("error parsing start schedule: {error}"))?;
            let to = Schedule::parse(&end).map_err(|error| format!("error parsing end schedule: {error}"))?;
            if start == end {
                return Err("start and end can not have exactly same time input".to_owned());
            }
            if desired_replicas == 0 {
                return Err("no desiredReplicas specified".to_owned());
            }
            Ok((from, to))
        };
        match schedules() {
            Ok((from, to)) if reader.errors.is_empty() => Ok(Self { timezone, start, end, desired_replicas, from, to }),
            Ok(_) => Err(reader.errors.join("\n")),
            Err(error) => {
                reader.errors.push(error);
                Err(reader.errors.join("\n"))
            }
        }
    }

    /// Base of the metric's name.
    pub(super) fn base_name(&self) -> String {
        let plain = |text: &str| {
            text.replace(' ', "").replace('*', "x").replace('/', "Sl").replace('?', "Qm").replace(',', "Cm")
        };
        format!("cron-{}-{}-{}", self.timezone, plain(&self.start), plain(&self.end))
    }

    /// Whether it is between start and end: the start belongs to it, the end does not.
    pub fn is_active(&self, now: DateTime<Utc>) -> Result<bool, String> {
        let zone: Tz = self
            .timezone
            .parse()
            .map_err(|_| format!("unable to load timezone: unknown time zone {}", self.timezone))?;
        // A schedule that never fires comes before all times, as upstream's zero time does.
        let (start, end, now) = (self.from.next(now, zone), self.to.next(now, zone), Some(now));
        Ok(if start < end { now > start && now < end } else { now > start || now < end })
    }

    /// When it begins or ends next; none when it never does.
    pub fn next_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let zone: Tz = self.timezone.parse().ok()?;
        [self.from.next(now, zone), self.to.next(now, zone)].into_iter().flatten().min()
    }
}

/// A schedule of five fields; each is a set of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of the month or day of the week is any day.
    any_day: bool,
    /// A zone of its own.
    zone: Option<Tz>,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Years ahead in which a schedule must fire.
const HORIZON: i32 = 5;

impl Schedule {
    fn parse(text: &str) -> Result<Self, String> {
        let zoned = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
        let (zone, text) = match zoned {
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                (Some(name.parse().map_err(|_| format!("provided bad location {name}"))?), rest)
            }
            None => (None, text),
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{text}]", fields.len()));
        };
        let (minutes, _) = field(minute, 0, 59, &[])?;
        let (hours, _) = field(hour, 0, 23, &[])?;
        let (days, any_of_month) = field(day, 1, 31, &[])?;
        let (months, _) = field(month, 1, 12, &MONTHS)?;
        let (weekdays, any_of_week) = field(weekday, 0, 6, &WEEKDAYS)?;
        Ok(Self { minutes, hours, days, months, weekdays, any_day: any_of_month || any_of_week, zone })
    }

    fn matches_day(&self, date: NaiveDate) -> bool {
        let day = self.days >> date.day() & 1 == 1;
        let weekday = self.weekdays >> date.weekday().num_days_from_sunday() & 1 == 1;
        let fits = if self.any_day { day && weekday } else { day || weekday };
        fits && self.months >> date.month() & 1 == 1
    }

    /// The first whole local minute after `now` whose fields match; minutes that a change of clocks leaves out do not
    /// count. None within five years means never.
    fn next(&self, now: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let zone = self.zone.unwrap_or(zone);
        let mut date = now.with_timezone(&zone).date_naive();
        let last = date.year() + HORIZON;
        while date.year() <= last {
            if self.matches_day(date)
                && let Some(first) = self.on(date, zone, now)
            {
                return Some(first);
            }
            date = date.checked_add_days(Days::new(1))?;
        }
        None
    }

    fn on(&self, date: NaiveDate, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let bits = |set: u64| (0..60).filter(move |bit| set >> bit & 1 == 1);
        bits(self.hours)
            .flat_map(|hour| bits(self.minutes).map(move |minute| (hour, minute)))
            .filter_map(|(hour, minute)| date.and_hms_opt(hour, minute, 0))
            .flat_map(|local| {
                let times = zone.from_local_datetime(&local);
                [times.earliest(), times.latest()]
            })
            .flatten()
            .map(|time| time.with_timezone(&Utc))
            .filter(|time| *time > now)
            .min()
    }
}

/// The bits of a field, and whether it stands for any value.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<(u64, bool), String> {
    let (mut bits, mut any) = (0, false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (range, step) = match part.split('/').collect::<Vec<_>>().as_slice() {
            [range] => (*range, None),
            [range, step] => (*range, Some(number(step)?)),
            _ => return Err(format!("too many slashes: {part}")),
        };
        if step == Some(0) {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        let named = |text: &str| {
            let name = names.iter().position(|name| text.eq_ignore_ascii_case(name));
            name.map_or_else(|| number(text), |at| Ok(at as u32 + least))
        };
        let (from, to) = match range.split('-').collect::<Vec<_>>().as_slice() {
            ["*" | "?"] => {
                any |= step.is_none_or(|step| step <= 1);
                (least, most)
            }
            [one] => (named(one)?, if step.is_some() { most } else { named(one)? }),
            [from, to] => (named(from)?, named(to)?),
            _ => return Err(format!("too many hyphens: {part}")),
        };
        if from < least {
            return Err(format!("beginning of range ({from}) below minimum ({least}): {part}"));
        }
        if to > most {
            return Err(format!("end of range ({to}) above maximum ({most}): {part}"));
        }
        if from > to {
            return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
        }
        bits |= (from..=to).step_by(step.unwrap_or(1) as usize).fold(0, |bits, at| bits | 1 << at);
    }
    Ok((bits, any))
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("failed to parse int from {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, now: &str) -> Option<String> {
        let schedule = Schedule::parse(schedule).expect("a good schedule");
        let now = now.parse().expect("a time");
        schedule.next(now, zone.parse().expect("a zone")).map(|time| time.to_rfc3339())
    }

    #[test]
    fn the_next_minute_is_strictly_later() {
        let at = |now| next("0 8 * * 1-5", "UTC", now);
        assert_eq!(at("2026-11-27T07:59:59Z").as_deref(), Some("2026-11-27T08:00:00+00:00"));
        assert_eq!(at("2026-11-27T08:00:00Z").as_deref(), Some("2026-11-30T08:00:00+00:00"), "over the weekend");
    }

    #[test]
    fn a_local_minute_that_does_not_exist_is_skipped() {
        let next = next("30 2 * * *", "America/New_York", "2026-03-08T05:00:00Z");
        assert_eq!(next.as_deref(), Some("2026-03-09T06:30:00+00:00"));
    }

    #[test]
    fn days_are_joined_by_or_unless_one_is_any() {
        let at = |schedule| next(schedule, "UTC", "2026-11-24T12:00:00Z");
        assert_eq!(at("0 0 13 * 5").as_deref(), Some("2026-11-27T00:00:00+00:00"), "a Friday or a 13th");
        assert_eq!(at("0 0 13 * *").as_deref(), Some("2026-12-13T00:00:00+00:00"));
        assert_eq!(at("0 0 31 2 *"), None);
    }

    #[test]
    fn fields_out_of_their_limits_are_refused() {
        for wrong in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *"]
        {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Schedule::parse("@daily").is_err() && Schedule::parse("* * * *").is_err());
    }
}
