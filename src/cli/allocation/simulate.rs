//! `allocation simulate`: how well a scheme can be guessed and how far it runs out of balance, before a trial.
//!
//! Needs no store and no key. It draws lists of its own from a seed of its own, which is a number that
//! anyone may know; the seed of a trial's list is never read here. Block sizes are printed because
//! whoever runs this typed them, or reads the definition in which they stand.

use crate::cli::output::{Out, table};
use crate::cli::shell::Shell;
use crate::cli::{Failure, Global, Outcome, Output, exit};
use crate::randomize::digest::Transcript;
use crate::randomize::simulate::{Balance, Report, Study, StudyError, study};
use crate::randomize::{Arms, Distance, Factor, Plan, Probability, Scheme, Seed, Weight};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

#[derive(Args, Debug)]
#[command(after_help = "\
Without options of a scheme, the trial's own plan is simulated. The lists are drawn from a throw-away seed \
(--seed), never from the seed of the trial's list: no figure here says anything of that one list.

Examples:
  trialbridge allocation simulate
  trialbridge allocation simulate --block-sizes 4,6 --participants 92
  trialbridge allocation simulate --scheme efron --probability 0.7
  trialbridge allocation simulate --block-sizes 4,6 --factor class=B:60,C:40
  trialbridge allocation simulate --scheme minimization --probability 0.8 --factor sex=female,male --factor class=B,C")]
pub struct Arguments {
    /// Scheme to simulate in the place of the trial's
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SCHEMES))]
    scheme: Option<String>,
    /// Of permuted-blocks, which is meant where --scheme is not given
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    block_sizes: Vec<u32>,
    /// Of efron (default 0.6667) and minimization (default 0.8)
    #[arg(long, value_name = "P")]
    probability: Option<Probability>,
    /// Of big-stick (default 3)
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Of minimization (default range)
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Distance::ALL.map(Distance::name)))]
    distance: Option<String>,
    /// Of minimization: one for each factor, in their order (default 1 each)
    #[arg(long, value_name = "W,…", value_delimiter = ',')]
    weights: Vec<Weight>,
    /// Stratified by it or, with minimization, balanced over it; once for each. `:N` behind every level: how
    /// many participants of it there are to those of the others
    #[arg(long, value_name = "NAME=LEVEL[:N],…")]
    factor: Vec<String>,
    /// Number of arms [default: 2]
    #[arg(long, value_name = "N")]
    arms: Option<usize>,
    /// Participants in each simulated trial [default: the trial's total, or 92]
    #[arg(long, value_name = "N")]
    participants: Option<u32>,
    /// Places in each list, where the trial stops before its end [default: as many as participants]
    #[arg(long, value_name = "N")]
    total: Option<u32>,
    /// Simulated trials
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    repetitions: u32,
    /// Of the simulated lists: the same number gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const SCHEMES: [&str; 5] = ["permuted-blocks", "complete", "efron", "big-stick", "minimization"];
/// Where neither the trial nor the user says how many: the first trial's number.
const PARTICIPANTS: u32 = 92;

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (mut plan, shares) = if arguments.is_own() { own(global)? } else { arguments.plan()? };
    let participants = arguments.participants.unwrap_or(plan.total);
    plan.total = arguments.total.unwrap_or(plan.total).max(participants);
    let subject = Study { plan: &plan, shares: &shares, participants, repetitions: arguments.repetitions };
    let seed = Transcript::new("trialbridge/simulate/v1").u64(arguments.seed).digest();
    let report = study(&subject, &Seed::new(seed.0)).map_err(refuse)?;
    let view = View::of(&subject, arguments.seed, &report);
    let mut out = Out::new();
    if global.output() == Output::Table {
        for line in view.lines() {
            out.line(&line)?;
        }
    } else {
        out.json(&view)?;
    }
    out.finish()?;
    Ok(0)
}

fn refuse(error: StudyError) -> Failure {
    Failure::new(exit::USAGE, error.to_string(), "`trialbridge allocation simulate --help` has examples")
}

fn usage(text: impl Into<String>, hint: &str) -> Failure {
    Failure::new(exit::USAGE, text, hint)
}

/// The trial's own plan, its levels equally frequent.
fn own(global: &Global) -> Result<(Plan, Vec<Vec<u32>>), Failure> {
    let plan = Shell::new(global)?.trial.plan();
    let without = "name a scheme, for example --block-sizes 4,6";
    let plan = plan.ok_or_else(|| Failure::new(exit::CONFIG, "the trial has no [allocation]", without))?;
    if let Scheme::Imported { .. } = plan.scheme {
        return Err(Failure::new(
            exit::CONFIG,
            "the trial's list is imported: it is not drawn up here",
            without,
        ));
    }
    Ok((plan, Vec::new()))
}

impl Arguments {
    /// Is nothing said of a scheme?
    fn is_own(&self) -> bool {
        self.scheme.is_none()
            && self.arms.is_none()
            && self.factor.is_empty()
            && self.given().next().is_none()
    }

    /// The options given that belong to some scheme and not to every one.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        let all: [(bool, &str, &[&str]); 5] = [
            (!self.block_sizes.is_empty(), "--block-sizes", &["permuted-blocks"]),
            (self.probability.is_some(), "--probability", &["efron", "minimization"]),
            (self.limit.is_some(), "--limit", &["big-stick"]),
            (self.distance.is_some(), "--distance", &["minimization"]),
            (!self.weights.is_empty(), "--weights", &["minimization"]),
        ];
        all.into_iter().filter(|(is_given, ..)| *is_given).map(|(_, option, schemes)| (option, schemes))
    }

    fn plan(&self) -> Result<(Plan, Vec<Vec<u32>>), Failure> {
        let scheme = self.scheme.as_deref().unwrap_or("permuted-blocks");
        if let Some((option, schemes)) = self.given().find(|(_, schemes)| !schemes.contains(&scheme)) {
            let text = format!("{option} has no meaning with scheme {scheme}");
            return Err(usage(text, &format!("it belongs to --scheme {}", schemes.join(" or "))));
        }
        let (factors, shares): (Vec<Factor>, Vec<Vec<u32>>) =
            self.factor.iter().map(|text| factor(text)).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let probability = |default: u32| {
            self.probability.or(Probability::from_units(default)).expect("a default is at most 1")
        };
        let scheme = match scheme {
            "complete" => Scheme::Complete,
            "efron" => Scheme::Efron { probability: probability(6_667) },
            "big-stick" => Scheme::BigStick { limit: self.limit.unwrap_or(3) },
            "minimization" => Scheme::Minimization {
                distance: self.distance.as_deref().and_then(Distance::named).unwrap_or(Distance::Range),
                probability: probability(8_000),
                weights: match &self.weights[..] {
                    [] => Weight::from_units(Weight::ONE).into_iter().cycle().take(factors.len()).collect(),
                    weights => weights.to_vec(),
                },
            },
            _ => Scheme::PermutedBlocks { sizes: self.block_sizes.clone() },
        };
        let arms = Arms::new((1..=self.arms.unwrap_or(2).min(Arms::MOST + 1)).map(|n| format!("arm {n}")))
            .map_err(|e| usage(e.to_string(), "--arms 2"))?;
        Ok((Plan { scheme, arms, factors, total: self.participants.unwrap_or(PARTICIPANTS) }, shares))
    }
}

/// `sex=female,male`, or with shares `sex=female:40,male:60`.
fn factor(text: &str) -> Result<(Factor, Vec<u32>), Failure> {
    let wrong =
        || usage(format!("--factor {text} is not NAME=LEVEL,LEVEL"), "--factor sex=female:40,male:60");
    let (name, levels) = text.split_once('=').ok_or_else(wrong)?;
    let of = |level: &str| match level.rsplit_once(':') {
        None => Some((level.to_owned(), None)),
        Some((level, share)) => Some((level.to_owned(), Some(share.parse::<u32>().ok()?))),
    };
    let (levels, shares): (Vec<String>, Vec<Option<u32>>) =
        levels.split(',').map(of).collect::<Option<Vec<_>>>().ok_or_else(wrong)?.into_iter().unzip();
    let shares = if shares.iter().all(Option::is_none) {
        vec![1; levels.len()]
    } else {
        let all: Option<Vec<u32>> = shares.into_iter().collect();
        all.ok_or_else(|| {
            usage(format!("--factor {text}: some levels have a share and some have none"), "all or none")
        })?
    };
    Ok((Factor { name: name.to_owned(), levels }, shares))
}

/// A simulation as it is printed.
#[derive(Serialize)]
struct View {
    schema: &'static str,
    plan: PlanView,
    participants: u32,
    /// Places in each list.
    total: u32,
    repetitions: u32,
    seed: u64,
    correct_guess: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    informed_guess: Option<f64>,
    overall: BalanceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_strata: Option<BalanceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_levels: Option<BalanceView>,
    /// Why a trial with this plan is refused; nothing where it is not.
    refused: Option<String>,
}

#[derive(Serialize)]
struct PlanView {
    scheme: &'static str,
    arms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_sizes: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<&'static str>,
    factors: Vec<FactorView>,
}

#[derive(Serialize)]
struct FactorView {
    name: String,
    levels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<String>,
}

#[derive(Serialize)]
struct BalanceView {
    worst_imbalance: u32,
    mean_worst_imbalance: f64,
    sd_final_imbalance: f64,
    mean_final_imbalance: f64,
}

impl From<Balance> for BalanceView {
    fn from(of: Balance) -> Self {
        BalanceView {
            worst_imbalance: of.worst,
            mean_worst_imbalance: round(of.mean_worst),
            sd_final_imbalance: round(of.sd_final),
            mean_final_imbalance: round(of.mean_final),
        }
    }
}

/// Six places: what comes behind them is noise of the simulation.
fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

impl PlanView {
    fn of(plan: &Plan, shares: &[Vec<u32>]) -> Self {
        let mut view = PlanView {
            scheme: plan.scheme.public_name(),
            arms: plan.arms.count(),
            block_sizes: None,
            probability: None,
            limit: None,
            distance: None,
            factors: Vec::new(),
        };
        let mut weight: &[Weight] = &[];
        match &plan.scheme {
            Scheme::PermutedBlocks { sizes } => view.block_sizes = Some(sizes.clone()),
            Scheme::Efron { probability } => view.probability = Some(probability.to_string()),
            Scheme::BigStick { limit } => view.limit = Some(*limit),
            Scheme::Minimization { distance, probability, weights } => {
                view.distance = Some(distance.name());
                view.probability = Some(probability.to_string());
                weight = weights;
            }
            Scheme::Complete | Scheme::Imported { .. } => {}
        }
        let factor = |(i, factor): (usize, &Factor)| FactorView {
            name: factor.name.clone(),
            levels: factor.levels.clone(),
            shares: shares.get(i).cloned(),
            weight: weight.get(i).map(Weight::to_string),
        };
        view.factors = plan.factors.iter().enumerate().map(factor).collect();
        view
    }

    /// The parameters in one line.
    fn text(&self) -> String {
        let sizes = self.block_sizes.as_ref().map(|sizes| {
            let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
            format!(", block sizes {}", sizes.join(" and "))
        });
        let probability = self.probability.as_ref().map(|p| format!(", probability {p}"));
        let limit = self.limit.map(|limit| format!(", limit {limit}"));
        let distance = self.distance.map(|name| format!(", distance {name}"));
        let parts = [sizes, limit, distance, probability].into_iter().flatten();
        parts.fold(format!("{}, {} arms", self.scheme, self.arms), |text, part| text + &part)
    }
}

impl View {
    fn of(study: &Study<'_>, seed: u64, report: &Report) -> Self {
        let within = || report.within.map(BalanceView::from);
        let is_stratified = study.plan.is_stratified();
        View {
            schema: "trialbridge/allocation-simulate/v1",
            plan: PlanView::of(study.plan, study.shares),
            participants: study.participants,
            total: study.plan.total,
            repetitions: study.repetitions,
            seed,
            correct_guess: round(report.correct_guess),
            informed_guess: report.informed_guess.map(round),
            overall: report.overall.into(),
            within_strata: is_stratified.then(within).flatten(),
            within_levels: (!is_stratified).then(within).flatten(),
            refused: report.refused.as_ref().map(ToString::to_string),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            self.plan.text(),
            format!(
                "{} participants, {} simulated trials, throw-away seed {}",
                self.participants, self.repetitions, self.seed
            ),
        ];
        for FactorView { name, levels, weight, .. } in &self.plan.factors {
            let weight = weight.as_ref().map(|weight| format!(", weight {weight}")).unwrap_or_default();
            lines.push(format!("factor {name}: {}{weight}", levels.join(", ")));
        }
        lines.push(String::new());
        let share = |share: f64| format!("{:.1} %", share * 100.0);
        lines.push(format!(
            "right guesses of whoever names the arm given least often{}   {}",
            if self.within_strata.is_some() { " in the stratum" } else { "" },
            share(self.correct_guess)
        ));
        if let Some(informed) = self.informed_guess {
            lines.push(format!(
                "right guesses of whoever knows everything but the draw   {}",
                share(informed)
            ));
        }
        lines.push(String::new());
        let row = |name: &str, of: &BalanceView| {
            vec![
                name.to_owned(),
                of.worst_imbalance.to_string(),
                format!("{:.2}", of.mean_worst_imbalance),
                format!("{:.2}", of.sd_final_imbalance),
                format!("{:.2}", of.mean_final_imbalance),
            ]
        };
        let mut rows = vec![row("overall", &self.overall)];
        rows.extend(self.within_strata.as_ref().map(|of| row("within strata", of)));
        rows.extend(self.within_levels.as_ref().map(|of| row("within levels", of)));
        let text = table(&["imbalance", "worst ever", "mean worst", "sd at end", "mean at end"], &rows);
        lines.extend(text.lines().map(str::to_owned));
        if let Some(reason) = &self.refused {
            lines.push(String::new());
            lines.push(format!("a trial with this plan is refused: {reason}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Line::try_parse_from(std::iter::once("simulate").chain(line.split_whitespace()))
            .map(|line| line.arguments)
    }

    fn plan(line: &str) -> Result<(Plan, Vec<Vec<u32>>), Failure> {
        parse(line).expect("arguments").plan()
    }

    fn view(line: &str) -> View {
        let arguments = parse(line).expect("arguments");
        let (plan, shares) = arguments.plan().unwrap_or_else(|e| panic!("{line}: {}", e.message));
        let subject = Study { plan: &plan, shares: &shares, participants: plan.total, repetitions: 50 };
        View::of(&subject, 7, &study(&subject, &Seed::new([7; 32])).expect("a report"))
    }

    #[test]
    fn options_make_a_plan() {
        // options, plan in one line
        let table = [
            ("--block-sizes 4,6", "permuted-blocks, 2 arms, block sizes 4 and 6"),
            ("--scheme permuted-blocks --block-sizes 6 --arms 3", "permuted-blocks, 3 arms, block sizes 6"),
            ("--scheme complete", "complete, 2 arms"),
            ("--scheme efron", "efron, 2 arms, probability 0.6667"),
            ("--scheme efron --probability 0.7", "efron, 2 arms, probability 0.7"),
            ("--scheme big-stick", "big-stick, 2 arms, limit 3"),
            ("--scheme big-stick --limit 4", "big-stick, 2 arms, limit 4"),
            ("--scheme minimization --factor a=x,y", "minimization, 2 arms, distance range, probability 0.8"),
            (
                "--scheme minimization --factor a=x,y --distance variance --probability 1 --weights 0.5",
                "minimization, 2 arms, distance variance, probability 1",
            ),
        ];
        for (line, expected) in table {
            let (plan, shares) = plan(line).unwrap_or_else(|e| panic!("{line}: {}", e.message));
            assert_eq!(PlanView::of(&plan, &shares).text(), expected, "{line}");
            assert_eq!(plan.total, 92);
        }
        assert_eq!(plan("--scheme complete --participants 40").map(|(plan, _)| plan.total).ok(), Some(40));
        for line in ["", "--participants 40", "--repetitions 5 --seed 3", "--total 100"] {
            assert!(parse(line).expect("arguments").is_own(), "{line}");
        }
        for line in ["--scheme complete", "--limit 3", "--arms 2", "--factor a=x,y", "--block-sizes 4"] {
            assert!(!parse(line).expect("arguments").is_own(), "{line}");
        }
    }

    #[test]
    fn options_that_mean_nothing_together_are_refused() {
        for (line, option) in [
            ("--scheme complete --block-sizes 4", "--block-sizes"),
            ("--limit 3", "--limit"),
            ("--scheme efron --limit 3", "--limit"),
            ("--scheme big-stick --probability 0.7", "--probability"),
            ("--scheme efron --distance range", "--distance"),
            ("--scheme complete --weights 1", "--weights"),
        ] {
            let error = plan(line).map(drop).expect_err(line);
            assert_eq!(error.code, exit::USAGE, "{line}");
            assert!(error.message.starts_with(option), "{line}: {}", error.message);
        }
        for line in [
            "--scheme alternation",
            "--scheme imported",
            "--scheme efron --probability 0.66667",
            "--scheme efron --probability 1.1",
            "--distance euclid",
            "--block-sizes 4,x",
            "--repetitions -1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in
            ["--arms 1 --block-sizes 4", "--arms 17 --block-sizes 34", "--arms 4000000000 --scheme complete"]
        {
            assert!(plan(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_factor_has_levels_and_all_of_them_shares_or_none() {
        let read = |text: &str| {
            factor(text).ok().map(|(factor, shares)| (factor.name, factor.levels.join("|"), shares))
        };
        let some =
            |name: &str, levels: &str, shares: &[u32]| Some((name.into(), levels.into(), shares.to_vec()));
        // text, name, levels, shares
        let table = [
            ("sex=female,male", some("sex", "female|male", &[1, 1])),
            ("sex=female:40,male:60", some("sex", "female|male", &[40, 60])),
            ("meld=<15,>=15", some("meld", "<15|>=15", &[1, 1])),
            ("class=B:0,C:1", some("class", "B|C", &[0, 1])),
            ("sex", None),
            ("sex=female:40,male", None),
            ("sex=female:x,male:1", None),
            ("sex=female:-1,male:1", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_printed_says_what_was_simulated() {
        let json = |line: &str| serde_json::to_value(view(line)).expect("JSON");
        let blocks = json("--block-sizes 4 --participants 8 --factor class=B:3,C:1");
        assert_eq!(blocks["schema"], "trialbridge/allocation-simulate/v1");
        assert_eq!(
            blocks["plan"].to_string(),
            r#"{"scheme":"permuted-blocks","arms":2,"block_sizes":[4],"factors":[{"name":"class","levels":["B","C"],"shares":[3,1]}]}"#
        );
        assert_eq!(blocks["within_strata"]["worst_imbalance"].to_string(), "2");
        assert!(blocks.get("within_levels").is_none() && blocks.get("informed_guess").is_none());
        assert!(blocks["refused"].is_null());
        for (key, value) in [("participants", "8"), ("total", "8"), ("repetitions", "50"), ("seed", "7")] {
            assert_eq!(blocks[key].to_string(), value, "{key}");
        }
        let minimized = json(
            "--scheme minimization --participants 8 --factor class=B,C --factor sex=f,m --weights 1,0.5",
        );
        assert!(minimized.get("within_strata").is_none());
        assert!(minimized["within_levels"].is_object() && minimized["informed_guess"].is_number());
        assert_eq!(minimized["plan"]["factors"][1]["weight"], "0.5");
        assert_eq!(minimized["plan"]["probability"], "0.8");

        let lines = view("--block-sizes 2 --participants 8").lines().join("\n");
        let expected = "\
permuted-blocks, 2 arms, block sizes 2
8 participants, 50 simulated trials, throw-away seed 7

right guesses of whoever names the arm given least often   75.0 %

IMBALANCE  WORST EVER  MEAN WORST  SD AT END  MEAN AT END
overall    1           1.00        0.00       0.00

a trial with this plan is refused: block size 2 with 2 arms is refused: the last slot of every block would be \
known in advance and the one before it half known; use 4 or more";
        assert_eq!(lines, expected);
        let lines = view("--scheme minimization --participants 8 --factor class=B,C").lines();
        assert!(lines.contains(&"factor class: B, C, weight 1".to_owned()));
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("right guesses of whoever knows everything but the draw"))
        );
        assert!(lines.iter().any(|line| line.starts_with("within levels")));
        let stratified = view("--block-sizes 4 --participants 8 --factor class=B,C").lines().join("\n");
        assert!(stratified.contains("least often in the stratum") && stratified.contains("within strata"));
    }
}
