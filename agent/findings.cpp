#include "agent/findings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

const char* Colour(Grade grade) {
  switch (grade) {
    case Grade::kGood: return "\x1b[32m";
    case Grade::kNote: return "";
    case Grade::kWarning: return "\x1b[33m";
    case Grade::kFault: break;
  }
  return "\x1b[31m";
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
    text += colours ? Colour(finding.grade) + word + "\x1b[0m" : word;
    std::string line = std::string(9 - word.size(), ' ') + finding.about + ": " + finding.said;
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
    }
    text += line + "\n";
  }
  const std::vector<std::string> remedies = Remedies(findings);
  text += remedies.empty() ? "\nNothing is to be done." : "\nWhat to do, in this order:";
  for (std::size_t i = 0; i < remedies.size(); ++i) text += "\n" + std::to_string(i + 1) + ". " + remedies[i];
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
