//! Which policy is tried next: an evolutionary search with racing, asked for trials and told what came of them.
//!
//! A generation: children of good policies are forecast for one seed (*screen*); the promising ones for a few more, with a
//! day of traffic for the cost (*race*); the best of these for all seeds (*confirm*). At the end each change of the best
//! policy is taken back on its own, and stays away where nothing is lost (*simplify*). Batches are whole generations, so
//! how many run at once does not change what is found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    score::{Figures, Score},
    space::{Candidate, Change, Space},
};
use crate::random::Random;

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Seeds of the forecasts, the first one for screening.
    pub seeds: Vec<u64>,
    /// Share of the seeds in which a policy must hold.
    pub probability: f64,
    /// Forecasts at most; none: until [`Search::wind_up`] and the end of what follows.
    pub forecasts: Option<u64>,
    /// Seed of the search itself.
    pub seed: u64,
}

/// One forecast to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Number of the policy, for [`Search::sets`].
    pub policy: usize,
    /// What is measured.
    pub measure: Measure,
}

/// What a trial measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The suite with this seed.
    Suite(u64),
    /// What a month of days of traffic costs.
    Day,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// No such profile can be, or it cannot be forecast.
    Invalid,
    /// The suite's figures.
    Suite(Figures),
    /// Dollars of a month of such days; none: rates cannot tell.
    Day(Option<f64>),
}

/// A policy with its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Its number.
    #[serde(skip)]
    pub id: usize,
    /// What it changes.
    pub changes: Vec<Change>,
    /// What it is worth.
    #[serde(flatten)]
    pub score: Score,
    /// The overrides that make it.
    pub sets: Vec<(String, String)>,
}

/// Children of a generation.
const CHILDREN: usize = 24;
/// Policies that may have children.
const PARENTS: usize = 10;
/// Of a generation, how many are forecast for a few seeds more, and how many of these for all.
const RACED: usize = 6;
const CONFIRMED: usize = 3;
/// The few seeds.
const FEW: usize = 4;
/// Of the forecasts that may be made, so many percent are for searching; the rest is for making the best one simple.
const SEARCHING: u64 = 75;
/// Changes are taken back unless that costs more than so much of a limit, all of them together.
const SIMPLER_MAY_STRAIN: f64 = 0.05;
/// A child that exists already, or no profile, is drawn again so often.
const DRAWS: usize = 50;

#[derive(Debug, Clone)]
struct Entry {
    candidate: Candidate,
    figures: Vec<Figures>,
    day: Option<f64>,
    day_known: bool,
    invalid: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Screen,
    Race,
    Confirm,
    Simplify,
    Done,
}

/// The search.
#[derive(Debug)]
pub struct Search {
    space: Space,
    plan: Plan,
    random: Random,
    entries: Vec<Entry>,
    known: BTreeMap<Candidate, usize>,
    stage: Stage,
    /// Policies of this generation, or of the last step.
    current: Vec<usize>,
    asked: Vec<Trial>,
    forecasts: u64,
    winding_up: bool,
    /// The best policy of the search, and what is left of it without needless changes.
    simple: Option<(usize, usize)>,
}

impl Search {
    /// A search of that space, which begins at the given profile.
    pub fn new(space: Space, plan: Plan) -> Self {
        let random = Random::new(plan.seed, "tune", 0);
        let mut search = Self {
            space,
            plan,
            random,
            entries: Vec::new(),
            known: BTreeMap::new(),
            stage: Stage::Screen,
            current: Vec::new(),
            asked: Vec::new(),
            forecasts: 0,
            winding_up: false,
            simple: None,
        };
        let given = search.space.given();
        search.current = search.enter(given).into_iter().collect();
        search
    }

    /// The next trials, to be answered by [`Self::tell`] in this order. None: the search is over.
    pub fn ask(&mut self) -> &[Trial] {
        while self.asked.is_empty() && self.stage != Stage::Done {
            self.asked = self.step();
            let left = self.plan.forecasts.map_or(u64::MAX, |most| most.saturating_sub(self.forecasts));
            self.asked.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if left == 0 {
                self.stage = Stage::Done;
            }
        }
        &self.asked
    }

    /// What came of the trials, in their order.
    pub fn tell(&mut self, outcomes: &[Outcome]) {
        for (trial, outcome) in std::mem::take(&mut self.asked).into_iter().zip(outcomes) {
            let entry = &mut self.entries[trial.policy];
            match outcome {
                // No forecast was made.
                Outcome::Invalid => {
                    entry.invalid = true;
                    continue;
                }
                Outcome::Suite(figures) => entry.figures.push(*figures),
                Outcome::Day(usd) => (entry.day, entry.day_known) = (*usd, true),
            }
            self.forecasts += 1;
        }
    }

    /// Searches no further: what follows makes the best policy simple.
    pub fn wind_up(&mut self) {
        self.winding_up = true;
    }

    /// Forecasts so far.
    pub fn forecasts(&self) -> u64 {
        self.forecasts
    }

    /// Policies that were forecast so far.
    pub fn policies(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.figures.is_empty()).count()
    }

    /// The space that is searched.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The overrides that make a policy.
    pub fn sets(&self, policy: usize) -> Vec<(String, String)> {
        self.space.sets(&self.entries[policy].candidate)
    }

    /// The given profile as a policy.
    pub fn given(&self) -> Policy {
        self.policy(0)
    }

    /// Policies that hold as often as was asked for over all seeds, the best first.
    pub fn found(&self) -> Vec<Policy> {
        let mut found: Vec<usize> = (0..self.entries.len()).filter(|entry| self.is_found(*entry)).collect();
        let simple = self.simple.map(|(_, simple)| simple);
        found.sort_by(|a, b| (Some(*b) == simple).cmp(&(Some(*a) == simple)).then_with(|| self.order(*a, *b)));
        found.into_iter().map(|entry| self.policy(entry)).collect()
    }

    /// Those found of which none is as cheap, as fast and as reliable; the cheapest first.
    pub fn front(&self) -> Vec<Policy> {
        let found = self.found();
        let mut front: Vec<Policy> = Vec::new();
        for policy in &found {
            let same = |other: &Policy| {
                other.score.cents() == policy.score.cents() && other.score.rounded() == policy.score.rounded()
            };
            if !found.iter().any(|other| other.score.dominates(&policy.score)) && !front.iter().any(same) {
                front.push(policy.clone());
            }
        }
        front.sort_by_key(|policy| (policy.score.cents(), policy.score.rounded()));
        front
    }

    fn policy(&self, id: usize) -> Policy {
        let candidate = &self.entries[id].candidate;
        Policy { id, changes: self.space.changes(candidate), score: self.score(id), sets: self.space.sets(candidate) }
    }

    fn score(&self, entry: usize) -> Score {
        let entry = &self.entries[entry];
        Score::of(&entry.figures, entry.day)
    }

    fn enter(&mut self, candidate: Candidate) -> Option<usize> {
        if self.known.contains_key(&candidate) {
            return None;
        }
        let id = self.entries.len();
        self.known.insert(candidate.clone(), id);
        self.entries.push(Entry { candidate, figures: Vec::new(), day: None, day_known: false, invalid: false });
        Some(id)
    }

    /// Whether a policy may still hold as often as was asked for.
    fn holds(&self, entry: usize) -> bool {
        let score = self.score(entry);
        let allowed = ((1.0 - self.plan.probability) * self.plan.seeds.len() as f64 + 1e-9).floor() as usize;
        !self.entries[entry].invalid && score.seeds > 0 && score.seeds - score.held <= allowed
    }

    fn is_found(&self, entry: usize) -> bool {
        self.entries[entry].figures.len() == self.plan.seeds.len() && self.holds(entry)
    }

    /// Two policies that hold are apart by what they cost, others by what they lack.
    fn order(&self, a: usize, b: usize) -> std::cmp::Ordering {
        let order = self.score(a).order(self.holds(a), &self.score(b), self.holds(b));
        order.then(a.cmp(&b))
    }

    fn is_ranked(&self, entry: usize) -> bool {
        !self.entries[entry].invalid && !self.entries[entry].figures.is_empty()
    }

    /// The best of these, at most so many.
    fn best_of(&self, entries: impl Iterator<Item = usize>, most: usize) -> Vec<usize> {
        let mut entries: Vec<usize> = entries.filter(|entry| self.is_ranked(*entry)).collect();
        entries.sort_by(|a, b| self.order(*a, *b));
        entries.truncate(most);
        entries
    }

    /// What is missing for a policy to have been forecast for so many seeds, and for a day if these are several.
    fn up_to(&self, policy: usize, seeds: usize) -> Vec<Trial> {
        let entry = &self.entries[policy];
        if entry.invalid {
            return Vec::new();
        }
        let suite = self.plan.seeds.iter().take(seeds).skip(entry.figures.len()).map(|seed| Measure::Suite(*seed));
        let day = (seeds > 1 && !entry.day_known).then_some(Measure::Day);
        suite.chain(day).map(|measure| Trial { policy, measure }).collect()
    }

    /// The next step of the generation.
    fn step(&mut self) -> Vec<Trial> {
        let searched = self.plan.forecasts.is_some_and(|most| self.forecasts * 100 >= most * SEARCHING);
        if (self.winding_up || searched) && matches!(self.stage, Stage::Screen) && self.entries.len() > 1 {
            self.stage = Stage::Simplify;
        }
        let all = self.plan.seeds.len();
        let (seeds, next) = match self.stage {
            Stage::Screen => {
                self.breed();
                (1, Stage::Race)
            }
            Stage::Race => {
                self.current = self.promising(FEW.min(all), RACED);
                (FEW.min(all), Stage::Confirm)
            }
            Stage::Confirm => {
                self.current = self.promising(all, CONFIRMED);
                (all, Stage::Screen)
            }
            Stage::Simplify => return self.simplify(),
            Stage::Done => return Vec::new(),
        };
        self.stage = next;
        self.current.iter().flat_map(|policy| self.up_to(*policy, seeds)).collect()
    }

    /// Of all policies with fewer seeds than that, the best that may hold and that nothing found makes needless. The given
    /// profile is always among them: people want to know how it stands.
    fn promising(&self, seeds: usize, most: usize) -> Vec<usize> {
        let found: Vec<Score> = (0..self.entries.len()).filter(|e| self.is_found(*e)).map(|e| self.score(e)).collect();
        let is_open = |entry: &usize| {
            let score = self.score(*entry);
            score.seeds > 0
                && score.seeds < seeds
                && self.holds(*entry)
                && !found.iter().any(|found| found.dominates(&score) && found.strain <= score.strain)
        };
        // What has had its few seeds goes on in this generation or waits for a better one: the best are always first.
        let open = (0..self.entries.len()).filter(is_open);
        let given = (self.entries[0].figures.len() < seeds && !self.entries[0].invalid).then_some(0);
        given.into_iter().chain(self.best_of(open.filter(|entry| *entry != 0), most)).collect()
    }

    /// A new generation.
    fn breed(&mut self) {
        let first = self.entries.len() == 1;
        let mut born = Vec::new();
        if first {
            born.push(0);
            for candidate in self.space.informed() {
                born.extend(self.enter(candidate));
            }
        }
        let mut parents = if first { born.clone() } else { self.best_of(0..self.entries.len(), PARENTS) };
        if parents.is_empty() {
            parents.push(0);
        }
        for _ in 0..DRAWS * CHILDREN {
            if born.len() >= CHILDREN {
                break;
            }
            let child = self.child(&parents);
            born.extend(self.enter(child));
        }
        if born.is_empty() {
            // Everything was tried.
            self.winding_up = true;
        }
        self.current = born;
    }

    /// A child of the better of two parents: sometimes mixed with another one, always changed in a knob or a few.
    fn child(&mut self, parents: &[usize]) -> Candidate {
        let mut below = |n: usize| self.random.below(n as u64) as usize;
        let parent = parents[below(parents.len()).min(below(parents.len()))];
        let mut child = self.entries[parent].candidate.clone();
        if below(10) < 4 {
            let other = &self.entries[parents[below(parents.len())]].candidate;
            for (mine, others) in child.0.iter_mut().zip(&other.0) {
                *mine = if below(2) == 0 { *mine } else { *others };
            }
        }
        let mut more = true;
        while more {
            let at = below(child.0.len());
            let (knob, value) = (&self.space.knobs[at], &mut child.0[at]);
            let last = knob.values.len() - 1;
            let now = usize::from(*value);
            let to = match below(10) {
                0..=3 => now.saturating_sub(1),
                4..=6 => (now + 1).min(last),
                7 => usize::from(knob.given),
                _ => below(last + 1),
            };
            *value = to as u8;
            more = below(5) < 2;
        }
        child
    }

    /// Takes back each change of the best policy on its own; the best of those that lose nothing is gone on from.
    fn simplify(&mut self) -> Vec<Trial> {
        loop {
            let found = (0..self.entries.len()).filter(|entry| self.is_found(*entry));
            let next = match self.simple {
                None => self.best_of(found, 1).first().map(|best| (*best, *best)),
                Some((best, simple)) => self.simpler(best, simple).map(|simpler| (best, simpler)),
            };
            let Some((best, base)) = next else {
                self.stage = Stage::Done;
                return Vec::new();
            };
            self.simple = Some((best, base));
            self.take_back(base);
            let all = self.plan.seeds.len();
            let trials: Vec<Trial> = self.current.iter().flat_map(|policy| self.up_to(*policy, all)).collect();
            // Where all of them were known, the next base has one change less, so this ends.
            if !trials.is_empty() {
                return trials;
            }
        }
    }

    /// The policies that lack one change of that one become the current ones.
    fn take_back(&mut self, base: usize) {
        let given = self.space.given();
        let changed = self.entries[base].candidate.clone();
        self.current.clear();
        for at in (0..given.0.len()).filter(|at| given.0[*at] != changed.0[*at]) {
            let mut candidate = changed.clone();
            candidate.0[at] = given.0[at];
            let entered = self.enter(candidate.clone());
            self.current.extend(entered.or_else(|| self.known.get(&candidate).copied()));
        }
    }

    /// Of the policies that lack one change of `of`, the best that loses nothing against the best of the search.
    fn simpler(&self, best: usize, of: usize) -> Option<usize> {
        let (most, cents) = (self.score(best).strain + SIMPLER_MAY_STRAIN, self.score(of).cents());
        let loses_nothing = |entry: &usize| {
            let score = self.score(*entry);
            self.is_found(*entry) && score.cents() <= cents && score.strain <= most
        };
        self.best_of(self.current.iter().copied().filter(loses_nothing), 1).first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    /// Answers trials without a forecast: what is cheap and what holds follows from the values alone.
    fn answer(search: &Search, trial: Trial) -> Outcome {
        let sets = search.sets(trial.policy);
        let number = |path: &str, given: f64| {
            let set = sets.iter().find(|(other, _)| other == path);
            set.and_then(|(_, value)| value.parse().ok()).unwrap_or(given)
        };
        let (nodes, web) = (number("pool.main.min", 2.0), number("workload.web.scaling.max", 10.0));
        if number("pool.main.max", 7.0) < nodes {
            return Outcome::Invalid;
        }
        let strain = 12.0 / web + if nodes < 2.0 { 0.5 } else { 0.0 };
        let excess = (strain - 0.9_f64).max(0.0);
        match trial.measure {
            Measure::Day => Outcome::Day(Some(100.0 * nodes + web)),
            Measure::Suite(_) => Outcome::Suite(Figures {
                passed: strain < 1.0,
                strain,
                excess,
                p95_ms: 500.0 * strain,
                failed_rate: 0.0,
                monthly_usd: 100.0 * nodes,
            }),
        }
    }

    fn search(forecasts: Option<u64>, seed: u64) -> Search {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        let space = Space::of(&profile, &[]).expect("there is something to tune");
        Search::new(space, Plan { seeds: (1..=8).collect(), probability: 0.95, forecasts, seed })
    }

    fn to_its_end(mut search: Search) -> Search {
        let mut rounds = 0;
        while !search.ask().is_empty() {
            let trials = search.ask().to_vec();
            let outcomes: Vec<_> = trials.iter().map(|trial| answer(&search, *trial)).collect();
            search.tell(&outcomes);
            rounds += 1;
            assert!(rounds < 10_000, "it ends");
        }
        search
    }

    #[test]
    fn the_cheapest_policy_that_holds_is_found_and_has_no_needless_change() {
        let search = to_its_end(search(Some(3000), 1));
        let found = search.found();
        let best = found.first().expect("there are many");
        assert_eq!(best.score.cents(), 21_400, "14 pods are the fewest that hold: {:?}", best.changes);
        assert_eq!(best.sets, [("workload.web.scaling.max".to_owned(), "14".to_owned())], "and nothing else matters");
        assert!(found.iter().all(|policy| policy.score.seeds == 8 && policy.score.held == 8));
        let front = search.front();
        assert!(front.windows(2).all(|pair| pair[0].score.monthly_usd < pair[1].score.monthly_usd));
        assert!(front.windows(2).all(|pair| pair[0].score.p95_ms > pair[1].score.p95_ms));
        assert_eq!((search.given().score.seeds, search.given().score.held), (8, 0));
    }

    #[test]
    fn the_same_seed_asks_for_the_same_and_the_budget_is_kept() {
        let (one, same, other) =
            (to_its_end(search(Some(700), 5)), to_its_end(search(Some(700), 5)), to_its_end(search(Some(700), 6)));
        assert!(one.forecasts() <= 700);
        let candidates =
            |search: &Search| search.entries.iter().map(|entry| entry.candidate.clone()).collect::<Vec<_>>();
        assert_eq!(candidates(&one), candidates(&same));
        assert_ne!(candidates(&one), candidates(&other));
    }

    #[test]
    fn a_search_that_is_wound_up_ends_by_itself() {
        let mut search = search(None, 1);
        for _ in 0..30 {
            let trials = search.ask().to_vec();
            let outcomes: Vec<_> = trials.iter().map(|trial| answer(&search, *trial)).collect();
            search.tell(&outcomes);
        }
        search.wind_up();
        let search = to_its_end(search);
        assert!(!search.found().is_empty() && search.policies() > 24);
    }
}
