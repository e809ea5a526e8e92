#include "agent/findings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/terminal.h"

namespace rcb::agent {
namespace {

using Grade = Finding::Grade;
using Json = nlohmann::ordered_json;

const char* Word(Grade grade) {
  switch (grade) {
    case Grade::kGood: return "good";
    case Grade::kNote: return "note";
    case Grade::kWarning: return "warning";
    case Grade::kFault: break;
  }
  return "fault";
}

Mark MarkOf(Grade grade) {
  switch (grade) {
    case Grade::kGood: return Mark::kGood;
    case Grade::kNote: return Mark::kNone;
    case Grade::kWarning: return Mark::kWarning;
    case Grade::kFault: break;
  }
  return Mark::kBad;
}

std::vector<std::string> Remedies(const std::vector<Finding>& findings) {
  std::vector<std::string> remedies;
  for (const Grade grade : {Grade::kFault, Grade::kWarning, Grade::kNote}) {
    for (const Finding& finding : findings) {
      const bool told = std::find(remedies.begin(), remedies.end(), finding.remedy) != remedies.end();
      if (finding.grade == grade && !finding.remedy.empty() && !told) remedies.push_back(finding.remedy);
    }
  }
  return remedies;
}

}  // namespace

bool HasFault(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.grade == Grade::kFault; });
}

std::string FindingsText(const std::vector<Finding>& findings, bool colours) {
  std::string text;
  for (const Finding& finding : findings) {
    const std::string word = Word(finding.grade);
    text += Marked(word, MarkOf(finding.grade), colours) + std::string(9 - word.size(), ' ') +
            Printable(finding.about + ": " + finding.said) + "\n";
  }
  const std::vector<std::string> remedies = Remedies(findings);
  text += "\n" +
          Marked(remedies.empty() ? "Nothing is to be done." : "What to do, in this order:", Mark::kHeading, colours);
  for (std::size_t i = 0; i < remedies.size(); ++i) {
    text += "\n" + std::to_string(i + 1) + ". " + Printable(remedies[i]);
  }
  return text;
}

std::string FindingsJson(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back(
        {{"grade", Word(finding.grade)}, {"about", finding.about}, {"said", finding.said}, {"remedy", finding.remedy}});
  }
  return Json{{"healthy", !HasFault(findings)}, {"findings", std::move(list)}, {"to_do", Remedies(findings)}}.dump(
      2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace rcb::agent
