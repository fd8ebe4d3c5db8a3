//! How many VUs, when: k6's `constant-vus` and `ramping-vus`, as a pure function of time.
//!
//! <https://grafana.com/docs/k6/latest/using-k6/scenarios/executors/ramping-vus/>: between two targets the number of VUs
//! is interpolated linearly.

use std::time::Duration;

use crate::suite::Executor;

/// An executor with its durations divided by the speed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    start: u32,
    stages: Vec<(Duration, u32)>,
    ramps: bool,
    graceful_ramp_down: Duration,
}

impl Plan {
    /// The plan of an executor.
    pub fn new(executor: &Executor, speed: f64) -> Self {
        match executor {
            Executor::ConstantVus { vus, duration } => Self {
                start: *vus,
                stages: vec![(duration.div_f64(speed), *vus)],
                ramps: false,
                graceful_ramp_down: Duration::ZERO,
            },
            Executor::RampingVus { start_vus, stages, graceful_ramp_down } => Self {
                start: *start_vus,
                stages: stages.iter().map(|stage| (stage.duration.div_f64(speed), stage.target)).collect(),
                ramps: true,
                graceful_ramp_down: graceful_ramp_down.div_f64(speed),
            },
        }
    }

    /// From the start to the end of the last stage.
    pub fn length(&self) -> Duration {
        self.stages.iter().map(|(duration, _)| *duration).sum()
    }

    /// The greatest number of VUs at any time.
    pub fn most_vus(&self) -> u32 {
        self.stages.iter().map(|(_, target)| *target).chain([self.start]).max().unwrap_or(0)
    }

    /// VUs that are to be active at `elapsed`.
    pub fn vus_at(&self, elapsed: Duration) -> u32 {
        let (mut from, mut begun) = (self.start, Duration::ZERO);
        for (duration, target) in &self.stages {
            if elapsed < begun + *duration {
                let share = elapsed.saturating_sub(begun).as_secs_f64() / duration.as_secs_f64();
                let exact = f64::from(from) + (f64::from(*target) - f64::from(from)) * share;
                // A VU starts when the line reaches its number and stops when the line falls below it.
                return exact.floor() as u32;
            }
            (from, begun) = (*target, begun + *duration);
        }
        from
    }

    /// `stage 2/5`, or nothing for an executor that does not ramp.
    pub fn stage_at(&self, elapsed: Duration) -> String {
        if !self.ramps {
            return String::new();
        }
        let mut end = Duration::ZERO;
        let passed = self.stages.iter().take_while(|(duration, _)| {
            end += *duration;
            end <= elapsed
        });
        format!("stage {}/{}", (passed.count() + 1).min(self.stages.len()), self.stages.len())
    }

    /// How long an iteration may go on when its VU is taken away.
    pub fn graceful_ramp_down(&self) -> Duration {
        self.graceful_ramp_down
    }
}

#[cfg(test)]
mod tests {
    use crate::suite::Stage;

    use super::*;

    fn ramp() -> Executor {
        Executor::RampingVus {
            start_vus: 0,
            stages: vec![
                Stage { duration: Duration::from_secs(10), target: 20 },
                Stage { duration: Duration::from_secs(10), target: 20 },
                Stage { duration: Duration::from_secs(10), target: 0 },
            ],
            graceful_ramp_down: Duration::from_secs(30),
        }
    }

    #[test]
    fn targets_are_reached_linearly() {
        let plan = Plan::new(&ramp(), 1.0);
        let at = |seconds: f64| plan.vus_at(Duration::from_secs_f64(seconds));
        assert_eq!([at(0.0), at(5.0), at(10.0), at(19.9), at(25.0), at(29.9)], [0, 10, 20, 20, 10, 0]);
        assert_eq!(plan.most_vus(), 20);
    }

    #[test]
    fn speed_divides_the_stages() {
        let plan = Plan::new(&ramp(), 10.0);
        assert_eq!(plan.length(), Duration::from_secs(3));
        assert_eq!(plan.vus_at(Duration::from_millis(500)), 10);
        assert_eq!(plan.stage_at(Duration::from_millis(1500)), "stage 2/3");
    }

    #[test]
    fn constant_vus_are_there_from_the_start() {
        let plan = Plan::new(&Executor::ConstantVus { vus: 40, duration: Duration::from_secs(600) }, 1.0);
        assert_eq!((plan.vus_at(Duration::ZERO), plan.length()), (40, Duration::from_secs(600)));
    }
}
