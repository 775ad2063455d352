#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

// The names that a scrape finds, by their types.
std::set<std::string> ExportedNames() {
  const std::string text = Metrics("m").Text();
  const std::regex type("# TYPE (vexact:\\w+) (\\w+)\n");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), type); it != std::sregex_iterator();
       ++it) {
    if ((*it)[2] != "histogram") {
      names.insert((*it)[1]);
      continue;
    }
    for (const char* part : {"_bucket", "_sum", "_count"}) names.insert((*it)[1].str() + part);
  }
  return names;
}

TEST(Metrics, TheDashboardAsksForNamesThatAreExported) {
  std::ifstream file(SourceDir() + "/apps/server/grafana_dashboard.json");
  const json dashboard = json::parse(file);
  const std::set<std::string> exported = ExportedNames();
  const std::regex name("vexact:\\w+");
  std::set<std::string> asked;
  for (const json& panel : dashboard["panels"]) {
    ASSERT_FALSE(panel["targets"].empty()) << panel["title"];
    for (const json& target : panel["targets"]) {
      const std::string query = target["expr"];
      EXPECT_THAT(query, HasSubstr("{model_name=~\"$model_name\"}"));
      std::sregex_iterator it(query.begin(), query.end(), name);
      ASSERT_NE(it, std::sregex_iterator()) << query;
      for (; it != std::sregex_iterator(); ++it) asked.insert(it->str());
    }
  }
  for (const std::string& one : asked) EXPECT_THAT(exported, Contains(one));
  EXPECT_GE(asked.size(), 14u);
}

TEST(Metrics, LabelsAreEscaped) {
  EXPECT_THAT(Metrics("a\"b\\c\nd").Text(), HasSubstr("{model_name=\"a\\\"b\\\\c d\"} 0\n"));
}

}  // namespace
}  // namespace vexact
