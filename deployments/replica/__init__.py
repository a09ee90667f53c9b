"""One replica: it claims tasks, brings their pictures, drives its engine and hands the results to be delivered."""
