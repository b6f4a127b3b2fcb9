"""From responses to numbers: means per problem, intervals, tables and curves."""
