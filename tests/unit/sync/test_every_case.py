"""Each named case has a test: the list is what the field's tools failed at, so none may get lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NAMES = """
pull_killed_midway_then_push pull_resume_10gb_after_kill pull_key_is_both_file_and_prefix
pull_key_with_dotdot_or_leading_slash_or_nul_or_double_slash pull_name_too_long_255b pull_directory_markers
pull_case_collision pull_disk_full pull_wrong_credentials pull_empty_prefix_vs_typo_prefix pull_403_on_head_missing
pull_local_nonempty_dir pull_1m_objects_memory list_truncated_error_page_500 list_unordered
pull_archived_storage_class_object overflow_20k_creates_reader_stalled mkdir_p_race_600 dir_moved_in dir_moved_out
rename_chain_a_b_c_within_debounce replace_dir_by_symlink_quickly jupyter_truncate_write_save
jupyter_killed_mid_save_recover_from_twin vim_backup_rename git_checkout_older_mtime_same_size mmap_writer_no_close
append_only_log_forever torch_save_20gb_slow_write file_changes_during_upload file_deleted_during_upload
edit_while_same_file_uploading hardlinks fifo_socket_device_skipped unreadable_file_0000 non_utf8_name
name_with_newline_tab_emoji_trailing_space symlink_loop broken_symlink symlink_to_outside watch_limit_enospc_fallback
root_dir_deleted root_remounted_empty rm_rf_star_by_user clock_jumps_1day_mtime_future tmp_file_created_deleted_in_50ms
empty_dir_create_delete chmod_x_only mtime_only_touch 100k_small_files_pip_install_in_data git_gc_during_sync
sqlite_wal_writer timeout_after_commit 412_from_our_own_retried_put 409_conditional_conflict_retry
503_slowdown_storm_aimd etag_missing_weak_quoted bit_flip_in_transit connection_reset_each_16mb 1_byte_per_second_stall
mpu_expired_uploadid_no_such_upload abort_denied_by_iam sas_expired_mid_session_renewed_by_file bucket_deleted
quota_exceeded checksum_header_rejected_by_gateway aws_chunked_rejected conditional_header_silently_ignored
conditional_501 versioned_bucket_makes_forbid_overwrite_void headbucket_ok_put_404 redirect_to_other_region
sigterm_10s_with_2gb_dirty sigterm_twice sigkill_at_every_await node_vanish_then_new_node two_nodes_start_same_second
zombie_paused_1h_resumes lease_lost_by_network_partition_keep_editing state_db_lost state_db_corrupt
foreign_writer_uploads_via_console both_edit_same_file edit_vs_delete replayed_same_seed_twice_identical_trace
"""
CASES = NAMES.split()


@pytest.fixture(scope="module")
def names(repository: Path) -> set[str]:
    """Every test function."""
    found: set[str] = set()
    for path in (repository / "tests").rglob("test_*.py"):
        if path.name == Path(__file__).name or "node_modules" in path.parts:
            continue
        found |= set(re.findall(r"def test_(\w+)\(", path.read_text()))
    return {name.lower() for name in found}


@pytest.mark.parametrize("case", CASES)
def test_case_has_a_test(case: str, names: set[str]) -> None:
    assert case in names
