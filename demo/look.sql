-- The database looks into its log four times a second.
SELECT demo.watch_log() \watch 0.25
