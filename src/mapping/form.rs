//! The trial's form: attestations by criterion, and the bedside grades that no laboratory measures.

use super::Mapper;
use crate::fact::*;
use crate::normalize::{Date, Given};

impl Mapper<'_> {
    pub(super) fn answers(
        &mut self,
        questionnaire: Option<&str>,
        authored: &Date,
        items: &[(String, Given<'_>)],
    ) {
        // `canonical|version`: the version of the form is not ours to judge.
        let form = questionnaire.map(|q| q.split_once('|').map_or(q, |(url, _)| url));
        if form != Some(self.trial.study.questionnaire.as_str()) {
            return;
        }
        let when = match authored {
            Some(Ok(when)) => when.clone(),
            Some(Err(_)) => {
                self.gap(Reason::DateInvalid, "QuestionnaireResponse.authored", None, None);
                return;
            }
            None => {
                self.gap(Reason::EffectiveMissing, "QuestionnaireResponse.authored", None, None);
                return;
            }
        };
        for (link, given) in items {
            if let Some(criterion) = self.trial.criterion(link) {
                let applies = match given {
                    Given::YesNo(yes) => Some(*yes),
                    Given::Code(code) => yes_or_no(code),
                    Given::Words(words) => yes_or_no(words.trim()),
                };
                match applies {
                    Some(applies) => self.out.facts.push(Fact::Attestation(Attestation {
                        criterion,
                        applies,
                        when: when.clone(),
                        source: self.source(),
                    })),
                    None => self.unknown_answer(link, None),
                }
            } else if let Some(variable) = self.trial.variable(link) {
                self.grade(variable, link, given, &when);
            }
        }
    }

    fn grade(&mut self, variable: Index, link: &str, given: &Given<'_>, when: &crate::clinical::time::When) {
        let Some(coded) = self.trial.variables[variable as usize].coded() else {
            self.gap(Reason::UnexpectedType, "QuestionnaireResponse.item", Some(variable), None);
            return;
        };
        let found = match given {
            Given::YesNo(yes) => coded.answers.iter().position(|a| a.boolean == Some(*yes)),
            Given::Code(code) => {
                coded.answers.iter().position(|a| a.id == **code || a.codes.iter().any(|(_, c)| *c == **code))
            }
            Given::Words(words) => {
                let words = words.trim().to_lowercase();
                coded.answers.iter().position(|a| a.texts.contains(&words))
            }
        };
        match found {
            Some(answer) => self.out.facts.push(Fact::Answer(Answer {
                variable,
                answer: answer as Index,
                received: Received { value: coded.answers[answer].id.as_str().into(), unit: None },
                effective: when.clone(),
                rank: 0,
                source: self.source(),
            })),
            None => self.unknown_answer(link, Some(variable)),
        }
    }

    fn unknown_answer(&mut self, link: &str, variable: Option<Index>) {
        let detail = Some(Box::from(link));
        self.gap(Reason::AnswerUnknown, "QuestionnaireResponse.item.answer", variable, detail);
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "373066001" | "是" => Some(true),
        "no" | "n" | "false" | "373067005" | "否" => Some(false),
        _ => None,
    }
}
