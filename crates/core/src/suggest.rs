//! "Did you mean": the nearest of the names that would have been right.

/// The nearest known name, as a hint, if one is near enough to be a slip of the hand; else all names, if they are few.
pub fn hint<S: AsRef<str>>(wrong: &str, known: impl IntoIterator<Item = S>) -> Option<String> {
    let names: Vec<String> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
    let few = (1..=16).contains(&names.len());
    near(wrong, &names).or_else(|| few.then(|| format!("known here: {}", names.join(", "))))
}

/// The nearest known name, as a hint, if one is near enough.
pub fn near<S: AsRef<str>>(wrong: &str, names: &[S]) -> Option<String> {
    names
        .iter()
        .map(AsRef::as_ref)
        .map(|name: &str| (distance(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Edit distance with neighbours swapped (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(hint("wokrload", ["workload", "pool"]).as_deref(), Some("did you mean `workload`?"));
        assert_eq!(hint("zzz", ["workload", "pool"]).as_deref(), Some("known here: workload, pool"));
        assert_eq!(hint("zzz", Vec::<String>::new()), None);
    }
}
