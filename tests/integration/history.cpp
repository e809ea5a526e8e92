#include "tests/integration/history.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

namespace rcb::integration {
namespace {

/// The observer may see a promotion this much later than its effect in DNS: the two are asked by turns.
constexpr Micros kSamplingTolerance = 20'000;

/// In the history: the question was not answered in time, which tells nothing.
constexpr const char* kTimeout = "!timeout";

bool Lists(const History::Answer& answer, const std::string& master) {
  return std::find(answer.masters.begin(), answer.masters.end(), master) != answer.masters.end();
}

template <typename Map>
const typename Map::mapped_type& Find(const Map& map, const std::string& key) {
  static const typename Map::mapped_type empty{};
  const auto found = map.find(key);
  return found == map.end() ? empty : found->second;
}

}  // namespace

void History::Refresh() {
  std::ifstream file(file_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(read_));
  for (std::string line; std::getline(file, line);) {
    if (file.eof()) break;  // Its end is still to be written.
    read_ += line.size() + 1;
    ReadLine(line);
  }
}

void History::ReadLine(const std::string& line) {
  std::istringstream fields(line);
  Micros at = 0;
  std::string kind;
  std::string subject;
  std::string value;
  fields >> at >> kind >> subject >> value;
  last_time_ = std::max(last_time_, at);
  if (kind == "dns") {
    Answer answer{at, {}, value.starts_with("!"), value};
    std::istringstream names(value);
    for (std::string name; !answer.failed && value != "-" && std::getline(names, name, ',');) {
      answer.masters.push_back(name);
    }
    answers_[subject].push_back(std::move(answer));
  } else if (kind == "redis") {
    roles_[subject].push_back({at, value});
  } else if (kind == "samples") {
    Samples& samples = samples_[subject];
    Micros gap = 0;
    fields >> gap;
    samples.count += std::stoll(value);
    samples.largest_gap = std::max(samples.largest_gap, gap);
    ++samples.seconds;
  }
}

History History::Among(const std::vector<std::string>& masters) const {
  History narrowed = *this;
  for (auto& [dns, answers] : narrowed.answers_) {
    for (Answer& answer : answers) {
      std::erase_if(answer.masters, [&masters](const std::string& master) {
        return std::find(masters.begin(), masters.end(), master) == masters.end();
      });
    }
  }
  return narrowed;
}

const std::vector<History::Answer>& History::Answers(const std::string& dns) const { return Find(answers_, dns); }

const std::vector<History::RoleChange>& History::Roles(const std::string& redis) const { return Find(roles_, redis); }

History::Samples History::SamplesOf(const std::string& kind_and_subject) const {
  return Find(samples_, kind_and_subject);
}

std::string History::LastAnswer(const std::string& dns) const {
  const Answer* last = LastWord(dns);
  return last == nullptr ? "" : last->text;
}

std::string History::LastRole(const std::string& redis) const {
  const auto& roles = Roles(redis);
  return roles.empty() ? "" : roles.back().role;
}

const History::Answer* History::LastWord(const std::string& dns) const {
  const auto& answers = Answers(dns);
  const auto last =
      std::find_if(answers.rbegin(), answers.rend(), [](const Answer& answer) { return answer.text != kTimeout; });
  return last == answers.rend() ? nullptr : &*last;
}

std::size_t History::MostMasters(const std::string& dns) const {
  std::size_t most = 0;
  for (const Answer& answer : Answers(dns)) most = std::max(most, answer.masters.size());
  return most;
}

std::vector<std::string> History::UnreadableAnswers(const std::string& dns) const {
  std::vector<std::string> unreadable;
  for (const Answer& answer : Answers(dns)) {
    const bool no_answer = answer.text == "!refused" || answer.text == kTimeout || answer.text == "!rcode2";
    if (answer.failed && !no_answer) unreadable.push_back(answer.text);
  }
  return unreadable;
}

std::vector<History::Interval> History::ListedIntervals(const std::string& dns, const std::string& master) const {
  std::vector<Interval> intervals;
  bool listed = false;
  for (const Answer& answer : Answers(dns)) {
    if (listed) intervals.back().end = answer.at;
    if (answer.text == kTimeout) continue;
    const bool lists = Lists(answer, master);
    if (lists && !listed) intervals.push_back({answer.at, answer.at});
    listed = lists;
  }
  if (listed) intervals.back().end = last_time_;
  return intervals;
}

std::optional<Micros> History::FirstListed(const std::string& dns, const std::string& master, Micros after) const {
  for (const Answer& answer : Answers(dns)) {
    if (answer.at >= after && Lists(answer, master)) return answer.at;
  }
  return std::nullopt;
}

std::optional<Micros> History::FirstAlone(const std::string& dns, const std::string& master, Micros after) const {
  for (const Answer& answer : Answers(dns)) {
    if (answer.at >= after && answer.masters.size() == 1 && Lists(answer, master)) return answer.at;
  }
  return std::nullopt;
}

std::optional<Micros> History::FirstNotListed(const std::string& dns, const std::string& master, Micros after) const {
  for (const Answer& answer : Answers(dns)) {
    if (answer.at >= after && !answer.failed && !Lists(answer, master)) return answer.at;
  }
  return std::nullopt;
}

std::optional<Micros> History::LastHeard(const std::string& dns, const std::string& master) const {
  const auto& answers = Answers(dns);
  for (std::size_t i = answers.size(); i-- > 0;) {
    if (Lists(answers[i], master)) return i + 1 < answers.size() ? answers[i + 1].at : last_time_;
  }
  return std::nullopt;
}

Micros History::TimeWithoutMaster(const std::string& dns, const Interval& interval) const {
  const auto& answers = Answers(dns);
  Micros total = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].masters.empty()) continue;
    const Micros end = i + 1 < answers.size() ? answers[i + 1].at : interval.end;
    total += std::max<Micros>(0, std::min(end, interval.end) - std::max(answers[i].at, interval.begin));
  }
  return total;
}

Micros History::TimeWithoutAnswer(const std::string& dns) const {
  constexpr Micros kWait = 250'000;  // Of the observer's question: a timeout is told this long after the fact.
  const auto& answers = Answers(dns);
  Micros total = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].failed) total += kWait + (i + 1 < answers.size() ? answers[i + 1].at : last_time_) - answers[i].at;
  }
  return total;
}

std::optional<Micros> History::FirstRole(const std::string& redis, const std::string& role, Micros after) const {
  for (const RoleChange& change : Roles(redis)) {
    if (change.at >= after && change.role == role) return change.at;
  }
  return std::nullopt;
}

std::optional<Micros> History::FirstPromotion(const std::string& redis, Micros after) const {
  const auto& roles = Roles(redis);
  for (std::size_t i = 1; i < roles.size(); ++i) {
    if (roles[i].at >= after && roles[i].role == "master" && roles[i - 1].role == "slave") return roles[i].at;
  }
  return std::nullopt;
}

std::vector<History::Violation> History::SupersededAnswers(const std::string& dns) const {
  std::vector<Violation> violations;
  std::map<std::string, Micros> superseded;  ///< Master -> when another was first named after it.
  std::set<std::string> named;
  for (const Answer& answer : Answers(dns)) {
    for (const std::string& master : answer.masters) {
      const auto found = superseded.find(master);
      if (found != superseded.end()) {
        const std::optional<Micros> promoted = FirstPromotion(master, found->second);
        if (!promoted || *promoted > answer.at + kSamplingTolerance) {
          violations.push_back({answer.at, "at " + std::to_string(answer.at) + " DNS said " + answer.text +
                                               ", though " + master + " was superseded at " +
                                               std::to_string(found->second) + " and not promoted since"});
          continue;
        }
        superseded.erase(found);
      }
      for (const std::string& other : named) {
        if (other != master) superseded.try_emplace(other, answer.at);
      }
    }
    named.insert(answer.masters.begin(), answer.masters.end());
  }
  return violations;
}

Micros History::TimeWrong(const std::string& dns) const {
  std::set<Micros> wrong;
  for (const Violation& violation : SupersededAnswers(dns)) wrong.insert(violation.at);
  const auto& answers = Answers(dns);
  Micros total = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].masters.size() <= 1 && !wrong.contains(answers[i].at)) continue;
    total += (i + 1 < answers.size() ? answers[i + 1].at : last_time_) - answers[i].at;
  }
  return total;
}

}  // namespace rcb::integration
