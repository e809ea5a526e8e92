#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rcb::integration {

/// A moment of MonotonicMicros().
using Micros = std::int64_t;

/// What the observer saw, as questions that a test asks. The file may still be growing: Refresh() reads on.
/// Where several DNS servers were observed, a question is about one of them, by label.
class History {
 public:
  /// One answer of DNS, valid from its time to that of the next.
  struct Answer {
    Micros at = 0;
    std::vector<std::string> masters;  ///< "127.0.0.1:port", sorted; empty for "nobody" and for a failed question.
    bool failed = false;               ///< No answer at all, or one that cannot be read.
    std::string text;                  ///< As the history has it.
  };
  struct RoleChange {
    Micros at = 0;
    std::string role;
  };
  struct Samples {
    std::int64_t count = 0;
    std::int64_t seconds = 0;  ///< Reports of the observer, about one a second.
    Micros largest_gap = 0;
  };
  struct Interval {
    Micros begin = 0;
    Micros end = 0;  ///< Now or later when it lasts: that of the last line read.
  };

  struct Violation {
    Micros at = 0;  ///< Time of the answer.
    std::string text;
  };

  explicit History(std::filesystem::path file) : file_(std::move(file)) {}

  void Refresh();
  /// The same with the answers narrowed to these masters: of one shard of Redis Cluster.
  History Among(const std::vector<std::string>& masters) const;

  const std::vector<Answer>& Answers(const std::string& dns) const;
  const std::vector<RoleChange>& Roles(const std::string& redis) const;
  Samples SamplesOf(const std::string& kind_and_subject) const;

  std::string LastAnswer(const std::string& dns) const;  ///< LastWord() as text; empty when there is none.
  std::string LastRole(const std::string& redis) const;

  /// The last answer that says something: one that came too late, on a busy machine, does not. Null when there is none.
  const Answer* LastWord(const std::string& dns) const;

  /// The most masters that one answer had.
  std::size_t MostMasters(const std::string& dns) const;

  /// Answers that cannot be judged by their content ("!truncated", "!malformed", "!rcode…"), as text. SERVFAIL is none:
  /// a Consul agent that looks for its servers says it.
  std::vector<std::string> UnreadableAnswers(const std::string& dns) const;

  /// A question that timed out ends none.
  std::vector<Interval> ListedIntervals(const std::string& dns, const std::string& master) const;
  std::optional<Micros> FirstListed(const std::string& dns, const std::string& master, Micros after) const;
  /// The first answer that named it and nobody else.
  std::optional<Micros> FirstAlone(const std::string& dns, const std::string& master, Micros after) const;
  /// The first good answer without it.
  std::optional<Micros> FirstNotListed(const std::string& dns, const std::string& master, Micros after) const;
  /// The end of the last time that it was heard to name `master`: any other answer ends that, a timeout as well.
  std::optional<Micros> LastHeard(const std::string& dns, const std::string& master) const;
  /// How long DNS named nobody within an interval, failed questions included.
  Micros TimeWithoutMaster(const std::string& dns, const Interval& interval) const;

  /// How long DNS did not answer at all, the wait for each timed-out answer included.
  Micros TimeWithoutAnswer(const std::string& dns) const;

  std::optional<Micros> FirstRole(const std::string& redis, const std::string& role, Micros after) const;
  /// The first time that a replica became master.
  std::optional<Micros> FirstPromotion(const std::string& redis, Micros after) const;

  /// Each time DNS named a master that had been superseded: it was named again after another had been, without having
  /// been promoted (slave to master) since.
  std::vector<Violation> SupersededAnswers(const std::string& dns) const;

  /// How long DNS named more than one master, or a superseded one.
  Micros TimeWrong(const std::string& dns) const;

 private:
  void ReadLine(const std::string& line);

  const std::filesystem::path file_;
  std::uint64_t read_ = 0;  ///< Bytes of the file that were read.
  Micros last_time_ = 0;
  std::map<std::string, std::vector<Answer>> answers_;
  std::map<std::string, std::vector<RoleChange>> roles_;
  std::map<std::string, Samples> samples_;
};

}  // namespace rcb::integration
